output "vpc_id" {
  value = aws_vpc.this.id
}

output "private_subnets" {
  value      = aws_subnet.private[*].id
  depends_on = [aws_vpc_endpoint.s3, aws_vpc_endpoint.interface] # no task starts before it can reach its image
}

output "public_subnets" {
  value = aws_subnet.public[*].id
}

output "task_security_group" {
  value = aws_security_group.tasks.id
}

output "flow_log_group_arn" {
  value = aws_cloudwatch_log_group.flows.arn
}
