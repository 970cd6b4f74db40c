"""The retry rule: which exit codes of a container are retried, and how often.

===========================================  =====================================================================
a container that ended with                  is started again
===========================================  =====================================================================
1 (a defect: an exception nobody foresaw)    never
2-7 (a refusal, a class of tasks/errors.py)  never; the execution fails under the name of that class
8 (UnavailableError)                         until `attempts_unavailable`, each wait twice the one before
128 and above, no code, spot interruption    until `attempts`, 20 s later; 137 for good is called OutOfMemory
any other code                               never
===========================================  =====================================================================

The two counters are separate: outages do not use up the attempts of an interruption. Both limits are in
``env.aws.yaml``. A task that exceeds its time limit is not retried. The rule itself is the state `Why did it end?` of
``infra/terraform/state_machine.json.tftpl``; this module gives the codes their names.
"""

from tasks import errors

WAIT_S = 20
DEFECT = "Defect"


def exit_names() -> list[str]:
    """Return what each exit code is called, by code: the class of ``tasks/errors.py`` that has it.

    Examples
    --------
    >>> exit_names()[3]
    'ConfigError'
    """
    names = {0: "TaskFailed", errors.ClicklabError.exit_code: DEFECT}
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, errors.ClicklabError):
            names.setdefault(kind.exit_code, name)
    return [names[code] for code in range(max(names) + 1)]
