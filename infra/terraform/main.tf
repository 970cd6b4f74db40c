data "aws_caller_identity" "this" {}

data "aws_partition" "this" {}

locals {
  name          = "${var.name}-${var.environment}"
  definition    = startswith(var.definition, "/") ? var.definition : "${path.root}/${var.definition}"
  tracking_uri  = var.tracking ? module.tracking[0].uri : var.external_tracking_uri
  model_pointer = "s3://${module.storage.bucket}/models/champion.json"
  image         = { for name, url in module.storage.repository_urls : name => "${url}:${var.images[name]}" }
}

module "network" {
  source = "./modules/network"

  name                = local.name
  region              = var.region
  cidr                = var.vpc_cidr
  zones               = [for letter in var.zones : "${var.region}${letter}"]
  endpoint_zones      = var.endpoint_zones
  interface_endpoints = var.interface_endpoints
  public_subnets      = var.public || var.internet_access
  internet_access     = var.internet_access
  key_arn             = module.storage.key_arn
  log_days            = var.log_days
  flow_log_role_arn   = module.iam.roles["flow-log"]
}

module "storage" {
  source = "./modules/storage"

  name            = local.name
  account_id      = data.aws_caller_identity.this.account_id
  partition       = data.aws_partition.this.partition
  region          = var.region
  force_destroy   = var.force_destroy
  run_days        = var.run_days
  noncurrent_days = var.noncurrent_days
  exposure_days   = var.exposure_days
  repositories    = ["pipeline", "service", "tracking"]
}

module "iam" {
  source = "./modules/iam"

  name                      = local.name
  region                    = var.region
  account_id                = data.aws_caller_identity.this.account_id
  partition                 = data.aws_partition.this.partition
  bucket_arn                = module.storage.bucket_arn
  key_arn                   = module.storage.key_arn
  repository_arns           = module.storage.repository_arns
  data_buckets              = var.data_buckets
  data_key_arns             = var.data_key_arns
  topic_arn                 = module.pipeline.topic_arn
  flow_log_group_arn        = module.network.flow_log_group_arn
  tracking                  = var.tracking
  operator_access           = var.operator_access
  database_secret_arn       = try(module.tracking[0].secret_arn, "")
  serving                   = var.serving
  api_key_secret_arn        = var.api_key_secret_arn
  salt_secret_arn           = module.storage.salt_secret_arn
  github_repository         = var.github_repository
  github_branches           = var.github_branches
  github_environment        = var.github_environment
  github_provider_arn       = var.github_provider_arn
  github_build_policy_arns  = var.github_build_policy_arns
  github_deploy_policy_arns = var.github_deploy_policy_arns
}

module "pipeline" {
  source = "./modules/pipeline"

  name                   = local.name
  region                 = var.region
  vpc_id                 = module.network.vpc_id
  subnets                = module.network.private_subnets
  task_security_group    = module.network.task_security_group
  bucket                 = module.storage.bucket
  key_arn                = module.storage.key_arn
  tracking_uri           = local.tracking_uri
  image                  = local.image["pipeline"]
  architecture           = var.architecture
  size                   = var.pipeline_size
  disk_gb                = var.pipeline_disk_gb
  definition             = local.definition
  plan                   = "${path.root}/plan.json"
  schedule               = var.schedule
  container_insights     = var.container_insights
  emails                 = var.emails
  log_days               = var.log_days
  task_role_arn          = module.iam.roles["pipeline-task"]
  execution_role_arn     = module.iam.roles["pipeline-execution"]
  state_machine_role_arn = module.iam.roles["state-machine"]
  schedule_role_arn      = module.iam.roles["schedule"]
}

module "tracking" {
  source = "./modules/tracking"
  count  = var.tracking ? 1 : 0

  name                = "${local.name}-tracking"
  region              = var.region
  vpc_id              = module.network.vpc_id
  vpc_cidr            = var.vpc_cidr
  subnets             = module.network.private_subnets
  task_security_group = module.network.task_security_group
  clients             = { pipeline = module.pipeline.security_group }
  cluster_arn         = module.pipeline.cluster_arn
  image               = local.image["tracking"]
  architecture        = var.architecture
  size                = var.tracking_size
  database            = var.database
  deletion_protection = var.deletion_protection
  bucket              = module.storage.bucket
  key_arn             = module.storage.key_arn
  log_group           = "/${local.name}/tracking"
  log_days            = var.log_days
  operator_access     = var.operator_access
  execution_role_arn  = module.iam.tracking_execution_role
  task_role_arn       = module.iam.roles["tracking-task"]
}

module "serving" {
  source = "./modules/serving"
  count  = var.serving ? 1 : 0

  name                = local.name
  region              = var.region
  vpc_id              = module.network.vpc_id
  vpc_cidr            = var.vpc_cidr
  subnets             = module.network.private_subnets
  public_subnets      = module.network.public_subnets
  public              = var.public
  allowed_cidrs       = var.allowed_cidrs
  certificate_arn     = var.certificate_arn
  api_key_secret_arn  = var.api_key_secret_arn
  salt_secret_arn     = module.storage.salt_secret_arn
  task_security_group = module.network.task_security_group
  cluster_arn         = module.pipeline.cluster_arn
  cluster_name        = module.pipeline.cluster_name
  image               = local.image["service"]
  architecture        = var.architecture
  size                = var.service_size
  tasks               = var.service_tasks
  requests_per_task   = var.requests_per_task
  rollback_alarms     = module.observability.rollback_alarms
  deletion_protection = var.deletion_protection
  bucket              = module.storage.bucket
  model_pointer       = local.model_pointer
  key_arn             = module.storage.key_arn
  log_days            = var.log_days
  execution_role_arn  = module.iam.roles["service-execution"]
  task_role_arn       = module.iam.roles["service-task"]
}

module "observability" {
  source = "./modules/observability"

  name                   = local.name
  region                 = var.region
  topic_arn              = module.pipeline.topic_arn
  state_machine_arn      = module.pipeline.state_machine_arn
  schedule_group         = module.pipeline.schedule_group
  pipeline_log_group     = module.pipeline.log_group
  serving                = var.serving
  service_log_group      = try(module.serving[0].log_group, "")
  service_load_balancer  = try(module.serving[0].load_balancer, "")
  service_target_groups  = try(module.serving[0].target_groups, {})
  p99_ms                 = var.p99_ms
  tracking               = var.tracking
  tracking_load_balancer = try(module.tracking[0].load_balancer, "")
  tracking_target_group  = try(module.tracking[0].target_group, "")
  database_identifier    = try(module.tracking[0].database_identifier, "")
  database_storage_gb    = var.database.storage_gb
}
