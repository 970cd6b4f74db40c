# Alarms, the log metrics they need, and a dashboard.

locals {
  colors = toset(["blue", "green"])

  pipeline_alarms = {
    "pipeline-failed" = {
      text       = "An execution of the pipeline failed."
      namespace  = "AWS/States", metric = "ExecutionsFailed", statistic = "Sum"
      dimensions = { StateMachineArn = var.state_machine_arn }
      threshold  = 0, periods = 1, period_s = 300, above = true
    }
    "pipeline-timed-out" = {
      text       = "An execution of the pipeline ran longer than it may."
      namespace  = "AWS/States", metric = "ExecutionsTimedOut", statistic = "Sum"
      dimensions = { StateMachineArn = var.state_machine_arn }
      threshold  = 0, periods = 1, period_s = 300, above = true
    }
    "pipeline-aborted" = {
      text       = "An execution of the pipeline was stopped; `make resume` continues it."
      namespace  = "AWS/States", metric = "ExecutionsAborted", statistic = "Sum"
      dimensions = { StateMachineArn = var.state_machine_arn }
      threshold  = 0, periods = 1, period_s = 300, above = true
    }
    "schedule-dropped" = {
      text       = "The schedule could not start the pipeline."
      namespace  = "AWS/Scheduler", metric = "InvocationDroppedCount", statistic = "Sum"
      dimensions = { ScheduleGroup = var.schedule_group }
      threshold  = 0, periods = 1, period_s = 300, above = true
    }
  }

  # By color, because a deployment is rolled back by the alarms of its own color.
  color_alarms = merge([for color in local.colors : {
    "${color}-5xx" = {
      text       = "Tasks of ${color} answer with server errors."
      namespace  = "AWS/ApplicationELB", metric = "HTTPCode_Target_5XX_Count", statistic = "Sum"
      dimensions = { LoadBalancer = var.service_load_balancer, TargetGroup = try(var.service_target_groups[color], "") }
      threshold  = 10, periods = 2, period_s = 60, above = true
    }
    "${color}-p99" = {
      text       = "One answer of ${color} in a hundred takes longer than ${var.p99_ms} ms."
      namespace  = "AWS/ApplicationELB", metric = "TargetResponseTime", statistic = "p99"
      dimensions = { LoadBalancer = var.service_load_balancer, TargetGroup = try(var.service_target_groups[color], "") }
      threshold  = var.p99_ms / 1000, periods = 3, period_s = 60, above = true
    }
    "${color}-unhealthy" = {
      text       = "A task of ${color} is not ready."
      namespace  = "AWS/ApplicationELB", metric = "UnHealthyHostCount", statistic = "Maximum"
      dimensions = { LoadBalancer = var.service_load_balancer, TargetGroup = try(var.service_target_groups[color], "") }
      threshold  = 0, periods = 5, period_s = 60, above = true
    }
  }]...)

  service_alarms = {
    "service-unreachable" = {
      text       = "The load balancer itself answers with errors: no task is ready."
      namespace  = "AWS/ApplicationELB", metric = "HTTPCode_ELB_5XX_Count", statistic = "Sum"
      dimensions = { LoadBalancer = var.service_load_balancer }
      threshold  = 10, periods = 2, period_s = 60, above = true
    }
    "exposures-dropped" = {
      text       = "Exposures were dropped, set aside or could not be written: what was answered is not wholly known."
      namespace  = var.name, metric = "ExposuresDropped", statistic = "Sum"
      dimensions = {}
      threshold  = 0, periods = 1, period_s = 300, above = true
    }
  }

  tracking_alarms = {
    "tracking-unhealthy" = {
      text       = "MLflow or its database does not answer."
      namespace  = "AWS/ApplicationELB", metric = "UnHealthyHostCount", statistic = "Maximum"
      dimensions = { LoadBalancer = var.tracking_load_balancer, TargetGroup = var.tracking_target_group }
      threshold  = 0, periods = 10, period_s = 60, above = true
    }
    "database-disk" = {
      text       = "Less than a tenth of the database's disk is free."
      namespace  = "AWS/RDS", metric = "FreeStorageSpace", statistic = "Minimum"
      dimensions = { DBInstanceIdentifier = var.database_identifier }
      threshold  = var.database_storage_gb * pow(2, 30) / 10, periods = 1, period_s = 300, above = false
    }
  }

  alarms = merge(
    local.pipeline_alarms,
    { for name, alarm in local.color_alarms : name => alarm if var.serving },
    { for name, alarm in local.service_alarms : name => alarm if var.serving },
    { for name, alarm in local.tracking_alarms : name => alarm if var.tracking },
  )
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.text
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  statistic           = startswith(each.value.statistic, "p") ? null : each.value.statistic
  extended_statistic  = startswith(each.value.statistic, "p") ? each.value.statistic : null
  dimensions          = each.value.dimensions
  threshold           = each.value.threshold
  comparison_operator = each.value.above ? "GreaterThanThreshold" : "LessThanThreshold"
  evaluation_periods  = each.value.periods
  period              = each.value.period_s
  treat_missing_data  = "notBreaching" # no traffic is not an error
  alarm_actions       = [var.topic_arn]
  ok_actions          = [var.topic_arn]
}

# ---- log metrics

resource "aws_cloudwatch_log_metric_filter" "exposures_dropped" {
  count = var.serving ? 1 : 0

  name           = "exposures-dropped"
  log_group_name = var.service_log_group
  pattern        = "?\"exposures were dropped\" ?\"exposures cannot be written\" ?\"cannot be written as JSON and is dropped\" ?\"exposures were set aside\""

  metric_transformation {
    name      = "ExposuresDropped"
    namespace = var.name
    value     = "1"
    unit      = "Count"
  }
}

resource "aws_cloudwatch_log_metric_filter" "model_refused" {
  count = var.serving ? 1 : 0

  name           = "model-refused"
  log_group_name = var.service_log_group
  pattern        = "refused"

  metric_transformation {
    name      = "ModelsRefused"
    namespace = var.name
    value     = "1"
    unit      = "Count"
  }
}

resource "aws_cloudwatch_log_metric_filter" "task_errors" {
  name           = "task-errors"
  log_group_name = var.pipeline_log_group
  pattern        = "{ $.level = \"ERROR\" || $.level = \"error\" }"

  metric_transformation {
    name      = "TaskErrors"
    namespace = var.name
    value     = "1"
    unit      = "Count"
  }
}
