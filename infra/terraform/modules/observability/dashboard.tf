locals {
  service_series = { for color in local.colors : color => try(var.service_target_groups[color], "") if var.serving }

  widgets = concat(
    [
      {
        title = "Pipeline: executions", stat = "Sum", period = 3600
        metrics = [for metric in ["ExecutionsStarted", "ExecutionsSucceeded", "ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted"] :
        ["AWS/States", metric, "StateMachineArn", var.state_machine_arn]]
      },
      {
        title   = "Pipeline: errors in the log", stat = "Sum", period = 3600
        metrics = [[var.name, "TaskErrors"]]
      },
    ],
    [for widget in [
      {
        title   = "Service: requests a minute", stat = "Sum", period = 60
        metrics = [for color, group in local.service_series : ["AWS/ApplicationELB", "RequestCount", "LoadBalancer", var.service_load_balancer, "TargetGroup", group, { label = color }]]
      },
      {
        title   = "Service: p99 latency (s)", stat = "p99", period = 60
        metrics = [for color, group in local.service_series : ["AWS/ApplicationELB", "TargetResponseTime", "LoadBalancer", var.service_load_balancer, "TargetGroup", group, { label = color }]]
      },
      {
        title   = "Service: errors", stat = "Sum", period = 60
        metrics = [for color, group in local.service_series : ["AWS/ApplicationELB", "HTTPCode_Target_5XX_Count", "LoadBalancer", var.service_load_balancer, "TargetGroup", group, { label = color }]]
      },
      {
        title   = "Service: tasks ready", stat = "Minimum", period = 60
        metrics = [for color, group in local.service_series : ["AWS/ApplicationELB", "HealthyHostCount", "LoadBalancer", var.service_load_balancer, "TargetGroup", group, { label = color }]]
      },
      {
        title   = "Service: exposures dropped, models refused", stat = "Sum", period = 300
        metrics = [[var.name, "ExposuresDropped"], [var.name, "ModelsRefused"]]
      },
    ] : widget if var.serving],
    [for widget in [
      {
        title   = "MLflow: free disk of the database (bytes)", stat = "Minimum", period = 300
        metrics = [["AWS/RDS", "FreeStorageSpace", "DBInstanceIdentifier", var.database_identifier]]
      },
    ] : widget if var.tracking],
  )
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name
  dashboard_body = jsonencode({
    widgets = [for index, widget in local.widgets : {
      type   = "metric"
      x      = 12 * (index % 2)
      y      = 6 * floor(index / 2)
      width  = 12
      height = 6
      properties = {
        title   = widget.title
        region  = var.region
        view    = "timeSeries"
        stat    = widget.stat
        period  = widget.period
        metrics = widget.metrics
      }
    }]
  })
}
