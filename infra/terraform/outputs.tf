# All that the verbs read of this deployment; empty where a part is switched off.

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
  description = "What every resource carries."
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
  description = "Where operators open a session, if operator_access is on."
  value       = try(module.tracking[0].service_name, "")
}

output "service_name" {
  description = "What the names of both colours begin with."
  value       = local.name
}

output "service_container" {
  value = try(module.serving[0].container, "")
}

output "service_task_definition" {
  description = "The revision to release: Terraform makes it, the release verbs put it into a colour."
  value       = try(module.serving[0].task_definition_arn, "")
}

output "service_tasks" {
  description = "Fewest and most tasks of the colour that serves."
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

output "load_balancer_dns" {
  value = try(module.serving[0].load_balancer_dns, "")
}

output "alarm_names" {
  value = module.observability.alarm_names
}

output "rollback_alarms" {
  description = "By colour: what stops a deployment."
  value       = module.observability.rollback_alarms
}

output "github_role_arn" {
  value = module.iam.github_role
}
