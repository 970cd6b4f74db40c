output "alarm_names" {
  value = sort([for alarm in aws_cloudwatch_metric_alarm.this : alarm.alarm_name])
}

output "rollback_alarms" {
  description = "By colour: what stops a deployment."
  value = { for colour in local.colours : colour =>
    [for kind in ["5xx", "p99"] : aws_cloudwatch_metric_alarm.this["${colour}-${kind}"].alarm_name] if var.serving
  }
}
