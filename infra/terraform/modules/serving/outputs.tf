output "url" {
  value = "${lower(aws_lb_listener.this.protocol)}://${aws_lb.this.dns_name}"
}

output "load_balancer" {
  value = aws_lb.this.arn_suffix
}

output "listener_arn" {
  value = aws_lb_listener.this.arn
}

output "target_group_arns" {
  value = { for color, group in aws_lb_target_group.this : color => group.arn }
}

output "target_groups" {
  value = { for color, group in aws_lb_target_group.this : color => group.arn_suffix }
}

output "service_names" {
  value = { for color, service in aws_ecs_service.this : color => service.name }
}

output "task_definition_arn" {
  value = aws_ecs_task_definition.this.arn
}

output "container" {
  value = local.container
}

output "log_group" {
  value = aws_cloudwatch_log_group.this.name
}
