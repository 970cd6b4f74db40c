output "load_balancer_dns" {
  value = aws_lb.this.dns_name
}

output "load_balancer" {
  value = aws_lb.this.arn_suffix
}

output "listener_arn" {
  value = aws_lb_listener.this.arn
}

output "target_group_arns" {
  value = { for colour, group in aws_lb_target_group.this : colour => group.arn }
}

output "target_groups" {
  value = { for colour, group in aws_lb_target_group.this : colour => group.arn_suffix }
}

output "service_names" {
  value = { for colour, service in aws_ecs_service.this : colour => service.name }
}

output "service_arns" {
  value = { for colour, service in aws_ecs_service.this : colour => service.id }
}

output "task_definition_arn" {
  value = aws_ecs_task_definition.this.arn
}

output "container" {
  value = local.container
}

output "security_group" {
  value = aws_security_group.service.id
}

output "log_group" {
  value = aws_cloudwatch_log_group.this.name
}

output "log_group_arn" {
  value = aws_cloudwatch_log_group.this.arn
}
