variable "name" {
  type = string
}

variable "region" {
  type = string
}

variable "topic_arn" {
  type = string
}

variable "state_machine_arn" {
  type = string
}

variable "schedule_group" {
  type = string
}

variable "pipeline_log_group" {
  type = string
}

variable "serving" {
  description = "Whether there is a service."
  type        = bool
}

variable "service_log_group" {
  type = string
}

variable "service_load_balancer" {
  type = string
}

variable "service_target_groups" {
  description = "ARN suffix by color."
  type        = map(string)
}

variable "p99_ms" {
  type = number
}

variable "tracking" {
  description = "Whether MLflow runs in this deployment."
  type        = bool
}

variable "tracking_load_balancer" {
  type = string
}

variable "tracking_target_group" {
  type = string
}

variable "database_identifier" {
  type = string
}

variable "database_storage_gb" {
  type = number
}
