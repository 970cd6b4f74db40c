# One role per duty. What each role may do is in the duty's file; this file has who may assume it.

locals {
  # ARNs are composed from names, so that a role need not wait for the resources it may use.
  log_group_arn     = "arn:${var.partition}:logs:${var.region}:${var.account_id}:log-group:/${var.name}"
  state_machine_arn = "arn:${var.partition}:states:${var.region}:${var.account_id}:stateMachine:${var.name}"
  ecs_arn           = "arn:${var.partition}:ecs:${var.region}:${var.account_id}"

  duties = merge(
    {
      pipeline-task = { service = "ecs-tasks", policy = data.aws_iam_policy_document.pipeline_task.json }
      state-machine = { service = "states", policy = data.aws_iam_policy_document.state_machine.json }
      schedule      = { service = "scheduler", policy = data.aws_iam_policy_document.schedule.json }
      flow-log      = { service = "vpc-flow-logs", policy = data.aws_iam_policy_document.flow_log.json }
    },
    { for duty, document in data.aws_iam_policy_document.service_task : "service-${duty}" => { service = "ecs-tasks", policy = document.json } },
    { for duty, document in data.aws_iam_policy_document.tracking_task : "tracking-${duty}" => { service = "ecs-tasks", policy = document.json } },
    { for image, document in data.aws_iam_policy_document.execution : "${image}-execution" => { service = "ecs-tasks", policy = document.json } },
  )
}

data "aws_iam_policy_document" "trust" {
  for_each = toset(["ecs-tasks", "states", "scheduler", "vpc-flow-logs"])

  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["${each.key}.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount" # the service acts for this account only
      values   = [var.account_id]
    }
  }
}

resource "aws_iam_role" "this" {
  for_each = local.duties

  name               = "${var.name}-${each.key}"
  assume_role_policy = data.aws_iam_policy_document.trust[each.value.service].json
}

resource "aws_iam_role_policy" "this" {
  for_each = local.duties

  name   = each.key
  role   = aws_iam_role.this[each.key].id
  policy = each.value.policy
}
