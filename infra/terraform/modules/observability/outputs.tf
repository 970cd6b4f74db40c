output "alarm_names" {
  value = sort([for alarm in aws_cloudwatch_metric_alarm.this : alarm.alarm_name])
}

output "rollback_alarms" {
  description = "By color: the alarms that roll a deployment back."
  value = { for color in local.colors : color =>
    [for kind in ["5xx", "p99"] : aws_cloudwatch_metric_alarm.this["${color}-${kind}"].alarm_name] if var.serving
  }
}
