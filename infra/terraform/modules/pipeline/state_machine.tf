locals {
  console = join("", [ # the console writes a slash in a name as $252F
    "https://${var.region}.console.aws.amazon.com/cloudwatch/home?region=${var.region}#logsV2:log-groups/log-group/",
    replace(aws_cloudwatch_log_group.tasks.name, "/", "$252F"),
  ])
}

resource "aws_cloudwatch_log_group" "state_machine" {
  name              = "/aws/vendedlogs/states/${var.name}/pipeline" # this prefix keeps the resource policy of Logs small
  retention_in_days = var.log_days
  kms_key_id        = var.key_arn
}

resource "aws_sfn_state_machine" "this" {
  name     = var.name
  role_arn = var.state_machine_role_arn

  definition = templatefile(var.definition, {
    bucket          = var.bucket
    cluster         = aws_ecs_cluster.this.arn
    console         = local.console
    disk_gb         = var.disk_gb
    plan            = jsonencode(jsondecode(file(var.plan)))
    security_groups = jsonencode([var.task_security_group, aws_security_group.this.id])
    subnets         = jsonencode(var.subnets)
    task_definition = aws_ecs_task_definition.this.arn
    topic_arn       = aws_sns_topic.this.arn
  })

  logging_configuration {
    level                  = "ALL"
    include_execution_data = true
    log_destination        = "${aws_cloudwatch_log_group.state_machine.arn}:*"
  }

  tracing_configuration {
    enabled = true
  }
}

resource "aws_scheduler_schedule_group" "this" {
  name = var.name
}

resource "aws_scheduler_schedule" "this" {
  #checkov:skip=CKV_AWS_297:the input holds an address of data, no secret
  name                         = "${var.name}-pipeline"
  group_name                   = aws_scheduler_schedule_group.this.name
  schedule_expression          = var.schedule.expression
  schedule_expression_timezone = var.schedule.timezone
  state                        = var.schedule.enabled ? "ENABLED" : "DISABLED"

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = aws_sfn_state_machine.this.arn
    role_arn = var.schedule_role_arn
    input    = jsonencode({ run = "", data = var.schedule.data, model = "" }) # an empty run is named after the execution

    retry_policy {
      maximum_retry_attempts       = 3
      maximum_event_age_in_seconds = 900
    }
  }

  lifecycle {
    ignore_changes = [state] # paused and resumed by a verb of its own
  }
}
