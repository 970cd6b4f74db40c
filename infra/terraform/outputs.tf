# Everything that the verbs know of this deployment; empty for parts that are switched off.

output "region" {
  value = var.region
}

output "account_id" {
  value = data.aws_caller_identity.this.account_id
}

output "environment" {
  value = var.environment
}

output "tags" {
  description = "Tags of every resource."
  value       = { Project = var.name, Environment = var.environment, ManagedBy = "terraform" }
}

output "bucket" {
  value = module.storage.bucket
}

output "model_pointer" {
  value = local.model_pointer
}

output "pipeline_repository" {
  value = module.storage.repository_urls["pipeline"]
}

output "service_repository" {
  value = module.storage.repository_urls["service"]
}

output "tracking_repository" {
  value = module.storage.repository_urls["tracking"]
}

output "cluster" {
  value = module.pipeline.cluster_arn
}

output "pipeline_task_definition" {
  value = module.pipeline.task_definition_arn
}

output "pipeline_container" {
  value = module.pipeline.container
}

output "pipeline_subnets" {
  value = module.network.private_subnets
}

output "pipeline_security_groups" {
  value = [module.network.task_security_group, module.pipeline.security_group]
}

output "state_machine_arn" {
  value = module.pipeline.state_machine_arn
}

output "state_machine_role_arn" {
  value = module.iam.roles["state-machine"]
}

output "schedule_name" {
  value = module.pipeline.schedule_name
}

output "schedule_group" {
  value = module.pipeline.schedule_group
}

output "topic_arn" {
  value = module.pipeline.topic_arn
}

output "log_group" {
  value = module.pipeline.log_group
}

output "tracking_uri" {
  value = local.tracking_uri
}

output "tracking_service" {
  description = "Name of MLflow's ECS service, in which operators open a session."
  value       = try(module.tracking[0].service_name, "")
}

output "service_name" {
  description = "Prefix of the names of both colors."
  value       = local.name
}

output "service_container" {
  value = try(module.serving[0].container, "")
}

output "service_task_definition" {
  description = "The revision to release: created here, started by the release verbs."
  value       = try(module.serving[0].task_definition_arn, "")
}

output "service_tasks" {
  description = "Minimum and maximum number of tasks of the live color."
  value       = var.service_tasks
}

output "service_log_group" {
  value = try(module.serving[0].log_group, "")
}

output "blue_service" {
  value = try(module.serving[0].service_names["blue"], "")
}

output "green_service" {
  value = try(module.serving[0].service_names["green"], "")
}

output "blue_target_group_arn" {
  value = try(module.serving[0].target_group_arns["blue"], "")
}

output "green_target_group_arn" {
  value = try(module.serving[0].target_group_arns["green"], "")
}

output "listener_arn" {
  value = try(module.serving[0].listener_arn, "")
}

output "service_url" {
  description = "Address of the service's load balancer."
  value       = try(module.serving[0].url, "")
}

output "alarm_names" {
  value = module.observability.alarm_names
}

output "rollback_alarms" {
  description = "By color: the alarms that roll a deployment back."
  value       = module.observability.rollback_alarms
}

output "github_build_role_arn" {
  value = module.iam.github_roles["build"]
}

output "github_deploy_role_arn" {
  value = module.iam.github_roles["deploy"]
}

output "architecture" {
  description = "CPU architecture that the task definitions ask for."
  value       = var.architecture
}
