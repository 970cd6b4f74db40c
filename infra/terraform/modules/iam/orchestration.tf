# What Step Functions, the schedule and the flow log may do.

data "aws_iam_policy_document" "state_machine" {
  statement {
    sid       = "Start"
    actions   = ["ecs:RunTask"]
    resources = ["${local.ecs_arn}:task-definition/${var.name}-pipeline:*"]

    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = ["${local.ecs_arn}:cluster/${var.name}"]
    }
  }

  statement {
    sid       = "Follow"
    actions   = ["ecs:DescribeTasks", "ecs:StopTask", "ecs:TagResource"]
    resources = ["${local.ecs_arn}:task/${var.name}/*"]
  }

  statement {
    sid       = "PassRole"
    actions   = ["iam:PassRole"]
    resources = [for duty in ["pipeline-task", "pipeline-execution"] : "arn:${var.partition}:iam::${var.account_id}:role/${var.name}-${duty}"]

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs-tasks.amazonaws.com"]
    }
  }

  # `.sync` learns that a task ended from a rule managed by Step Functions.
  statement {
    sid       = "Wait"
    actions   = ["events:PutTargets", "events:PutRule", "events:DescribeRule"]
    resources = ["arn:${var.partition}:events:${var.region}:${var.account_id}:rule/StepFunctionsGetEventsForECSTaskRule"]
  }

  statement {
    sid       = "Notify"
    actions   = ["sns:Publish"]
    resources = [var.topic_arn]
  }

  statement {
    sid       = "Quote"
    actions   = ["s3:GetObject"] # the text of the failure or the report, for the notice
    resources = ["${var.bucket_arn}/runs/*"]
  }

  statement {
    sid       = "Key"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.key_arn]
  }

  statement {
    sid = "Log"
    actions = [
      "logs:CreateLogDelivery", "logs:GetLogDelivery", "logs:UpdateLogDelivery", "logs:DeleteLogDelivery",
      "logs:ListLogDeliveries", "logs:PutResourcePolicy", "logs:DescribeResourcePolicies", "logs:DescribeLogGroups",
      "xray:PutTraceSegments", "xray:PutTelemetryRecords", "xray:GetSamplingRules", "xray:GetSamplingTargets",
    ]
    resources = ["*"] # support no resource-level permissions
  }
}

data "aws_iam_policy_document" "schedule" {
  statement {
    sid       = "Start"
    actions   = ["states:StartExecution"]
    resources = [local.state_machine_arn]
  }
}

data "aws_iam_policy_document" "flow_log" {
  statement {
    sid       = "Write"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"]
    resources = [var.flow_log_group_arn, "${var.flow_log_group_arn}:*"]
  }

  statement {
    sid       = "Find"
    actions   = ["logs:DescribeLogGroups"]
    resources = ["*"] # supports no resource-level permissions
  }
}
