"""The states that say how a run went: a notice of success with its summary, or of failure with task, cell and log."""

from typing import Any

from infra.state_machine.task_call import CONTAINER

STREAM = f"task/{CONTAINER}/"
_PUBLISH, _READ = "arn:aws:states:::sns:publish", "arn:aws:states:::aws-sdk:s3:getObject"
_CONSOLE = "https://${region}.console.aws.amazon.com/cloudwatch/home?region=${region}#logsV2:log-groups/log-group/"
LOG_GROUP = '${replace(log_group, "/", "$252F")}'  # how the console writes a slash

States = dict[str, Any]


def _notice(subject: str, message: str) -> dict[str, Any]:
    return {
        "Type": "Task",
        "Resource": _PUBLISH,
        "Parameters": {"TopicArn": "${topic_arn}", "Subject.$": subject, "Message.$": message},
        "ResultPath": None,
        "Retry": [
            {
                "ErrorEquals": ["States.ALL"],
                "IntervalSeconds": 2,
                "MaxAttempts": 3,
                "BackoffRate": 2,
            }
        ],
    }


def _read(key: str, result: dict[str, str], result_path: str, otherwise: str) -> dict[str, Any]:
    return {
        "Type": "Task",
        "Resource": _READ,
        "Parameters": {"Bucket": "${bucket}", "Key.$": key},
        "ResultSelector": result,
        "ResultPath": result_path,
        "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.unread", "Next": otherwise}],
    }


def success() -> States:
    """Return the states after the last level: read the summary that ``report`` left, tell it, end well."""
    told = "States.Format('Run {} succeeded. {}', $.run, $.summary.text)"
    notice = _notice("States.Format('Run {} succeeded', $.run)", told)
    told_or_not = [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.untold", "Next": "Succeeded"}]
    return {
        "Summary": {
            **_read(
                "States.Format('runs/{}/summary.txt', $.run)",
                {"text.$": "$.Body"},
                "$.summary",
                "No summary",
            ),
            "Next": "Tell success",
        },
        "No summary": {
            "Type": "Pass",
            "Result": {"text": "It left no summary."},
            "ResultPath": "$.summary",
            "Next": "Tell success",
        },
        "Tell success": {**notice, "Catch": told_or_not, "Next": "Succeeded"},
        "Succeeded": {"Type": "Succeed"},
    }


def failure() -> States:
    """Return the states after a failed level: tell which task and cell and where its log is, end badly.

    What a task's branch failed with is JSON (:mod:`infra.state_machine.task_attempts`); what comes from elsewhere is told as
    it is. What is told in detail is put together in a branch of its own, so that the plain fact is told
    where that fails.
    """
    ours = [
        {"Variable": "$.error.Cause", "IsPresent": True},
        {"Variable": "$.error.Cause", "StringMatches": '{*"name":*}'},
    ]
    plainly = "States.Format('Run {} failed: {}', $.run, States.JsonToString($.error))"
    return {
        "Failure": {
            "Type": "Choice",
            "Choices": [{"And": ours, "Next": "Failure of a task"}],
            "Default": "Tell plainly",
        },
        "Failure of a task": {
            "Type": "Parallel",
            "Branches": [{"StartAt": "What failed", "States": _detailed()}],
            "ResultPath": None,
            "Catch": [
                {"ErrorEquals": ["States.ALL"], "ResultPath": "$.untold", "Next": "Tell plainly"}
            ],
            "Next": "Failed",
        },
        "Tell plainly": {
            **_notice("States.Format('Run {} failed', $.run)", plainly),
            "Catch": [
                {"ErrorEquals": ["States.ALL"], "ResultPath": "$.unsaid", "Next": "Failed plainly"}
            ],
            "Next": "Failed plainly",
        },
        "Failed": {"Type": "Fail", "ErrorPath": "$.error.Error", "CausePath": "$.error.Cause"},
        "Failed plainly": {
            "Type": "Fail",
            "ErrorPath": "$.error.Error",
            "CausePath": "States.JsonToString($.error)",
        },
    }


def _instead(line: str) -> dict[str, Any]:
    """Return a state that puts a line, or what is at a path, in the place of a record that is not there."""
    key = "line.$" if line.startswith("$") else "line"
    return {
        "Type": "Pass",
        "Parameters": {"record": {key: line, "cell": "-"}},
        "ResultPath": "$.left",
        "Next": "Did it run?",
    }


def _detailed() -> States:
    """Return the states that put together what is known of a failure, and tell it."""
    about = {"run.$": "$.run", "error.$": "$.error.Error"}
    return {
        "What failed": {
            "Type": "Pass",
            "Parameters": {**about, "known.$": "States.StringToJson($.error.Cause)"},
            "Next": "Its record",
        },
        **_record(),
        **_log_address(),
        "Tell failure": {
            **_notice(
                "States.Format('Run {} failed at {}', $.run, $.known.name)",
                "States.Format('Task {} of run {} failed ({}), cell {}: {} | log: {} | after a fix: make resume RUN={}', "
                "$.known.name, $.run, $.error, $.left.record.cell, $.left.record.line, $.address.log, $.run)",
            ),
            "End": True,
        },
    }


def _record() -> States:
    """Return the states that read what the task wrote of its failure, or find a line to put in its place."""
    too_slow = {"Variable": "$.error", "StringEquals": "TimeLimit"}
    stopped = {"Variable": "$.known.error.stopped.StoppedReason", "IsPresent": True}
    not_started = {"Variable": "$.known.error.Cause", "IsPresent": True}
    return {
        "Its record": {
            **_read(
                "States.Format('runs/{}/failures/{}.json', $.run, $.known.name)",
                {"record.$": "States.StringToJson($.Body)"},
                "$.left",
                "No record",
            ),
            "Next": "Did it run?",
        },
        "No record": {
            "Type": "Choice",
            "Choices": [
                {**too_slow, "Next": "Too slow"},
                {**stopped, "Next": "Why it stopped"},
                {**not_started, "Next": "Why not started"},
            ],
            "Default": "Nobody knows why",
        },
        "Too slow": _instead("it took longer than its time limit in env.aws.yaml"),
        "Why it stopped": _instead("$.known.error.stopped.StoppedReason"),
        "Why not started": _instead("$.known.error.Cause"),
        "Nobody knows why": _instead("it left no record of why"),
    }


def _log_address() -> States:
    """Return the states that say where the container's log is, or all logs where there was no container."""
    ran = {"Variable": "$.known.error.stopped.TaskArn", "IsPresent": True}
    task_id = "States.ArrayGetItem(States.StringSplit($.known.error.stopped.TaskArn, '/'), 2)"
    stream = STREAM.replace("/", "$252F")
    return {
        "Did it run?": {
            "Type": "Choice",
            "Choices": [{**ran, "Next": "Its log"}],
            "Default": "All logs",
        },
        "Its log": {
            "Type": "Pass",
            "Parameters": {"id.$": task_id},
            "ResultPath": "$.container",
            "Next": "Its log's address",
        },
        "Its log's address": {
            "Type": "Pass",
            "Parameters": {
                "log.$": f"States.Format('{_CONSOLE}{LOG_GROUP}/log-events/{stream}{{}}', $.container.id)"
            },
            "ResultPath": "$.address",
            "Next": "Tell failure",
        },
        "All logs": {
            "Type": "Pass",
            "Parameters": {"log": _CONSOLE + LOG_GROUP},
            "ResultPath": "$.address",
            "Next": "Tell failure",
        },
    }
