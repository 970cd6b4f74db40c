output "uri" {
  value = "http://${aws_lb.this.dns_name}"
}

output "service_name" {
  value = aws_ecs_service.this.name
}

output "secret_arn" {
  value = local.secret_arn
}

output "database_identifier" {
  value = aws_db_instance.this.identifier
}

output "load_balancer" {
  value = aws_lb.this.arn_suffix
}

output "target_group" {
  value = aws_lb_target_group.this.arn_suffix
}
