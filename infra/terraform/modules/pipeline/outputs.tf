output "cluster_arn" {
  value = aws_ecs_cluster.this.arn
}

output "cluster_name" {
  value = aws_ecs_cluster.this.name
}

output "task_definition_arn" {
  value = aws_ecs_task_definition.this.arn
}

output "container" {
  value = local.container
}

output "security_group" {
  value = aws_security_group.this.id
}

output "state_machine_arn" {
  value = aws_sfn_state_machine.this.arn
}

output "schedule_name" {
  value = aws_scheduler_schedule.this.name
}

output "schedule_group" {
  value = aws_scheduler_schedule_group.this.name
}

output "topic_arn" {
  value = aws_sns_topic.this.arn
}

output "log_group" {
  value = aws_cloudwatch_log_group.tasks.name
}
