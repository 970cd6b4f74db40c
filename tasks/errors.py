"""The errors a user can mend, each with the exit code by which a scheduler tells them apart.

The command line turns any of these into one line and the exit code; everything else is a defect
and keeps its traceback. Codes stay below 125, where shells and containers begin their own.
"""


class ClicklabError(ValueError):
    """Something a user can mend: the message says what was found and what to do."""

    exit_code = 1


class InputError(ClicklabError):
    """The input cannot be used: a missing file, a wrong column, an unreadable archive."""

    exit_code = 2


class ConfigError(ClicklabError):
    """A knob is unknown, out of its range, or contradicts another."""

    exit_code = 3


class DataCheckError(ClicklabError):
    """The log was read, but breaks its data contract; trying again will not help."""

    exit_code = 4


class ContractError(ClicklabError):
    """Arrays, model and service do not share one hash contract."""

    exit_code = 5


class GateError(ClicklabError):
    """No model may serve: the gates refused every candidate and there is no champion."""

    exit_code = 6
