variable "name" {
  type = string
}

variable "region" {
  type = string
}

variable "account_id" {
  type = string
}

variable "partition" {
  type = string
}

variable "bucket_arn" {
  type = string
}

variable "key_arn" {
  type = string
}

variable "repository_arns" {
  description = "By image."
  type        = map(string)
}

variable "data_buckets" {
  description = "Other buckets that the pipeline reads."
  type        = list(string)
}

variable "data_key_arns" {
  description = "Keys with which those buckets are encrypted."
  type        = list(string)
}

variable "topic_arn" {
  type = string
}

variable "flow_log_group_arn" {
  type = string
}

variable "tracking" {
  type = bool
}

variable "operator_access" {
  type = bool
}

variable "database_secret_arn" {
  description = "The secret in which RDS keeps the database's password."
  type        = string
}

variable "serving" {
  type = bool
}

variable "api_key_secret_arn" {
  type = string
}

variable "salt_secret_arn" {
  description = "The secret with the salt of the exposures."
  type        = string
}

variable "github_repository" {
  type = string
}

variable "github_branches" {
  type = list(string)
}

variable "github_environment" {
  type = string
}

variable "github_provider_arn" {
  type = string
}

variable "github_build_policy_arns" {
  type = set(string)
}

variable "github_deploy_policy_arns" {
  type = set(string)
}
