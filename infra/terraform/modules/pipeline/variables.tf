variable "name" {
  type = string
}

variable "region" {
  type = string
}

variable "vpc_id" {
  type = string
}

variable "subnets" {
  type = list(string)
}

variable "task_security_group" {
  description = "The group by which tasks reach AWS services."
  type        = string
}

variable "bucket" {
  type = string
}

variable "key_arn" {
  type = string
}

variable "tracking_uri" {
  type = string
}

variable "image" {
  type = string
}

variable "architecture" {
  type = string
}

variable "size" {
  type = object({ cpu = number, memory_mb = number })
}

variable "disk_gb" {
  type = number
}

variable "definition" {
  description = "Path of the state machine's template."
  type        = string
}

variable "plan" {
  description = "Path of the state machine's plan, which `make asl` writes."
  type        = string
}

variable "schedule" {
  type = object({ expression = string, timezone = string, enabled = bool, data = string })
}

variable "container_insights" {
  type = bool
}

variable "emails" {
  type = set(string)
}

variable "log_days" {
  type = number
}

variable "task_role_arn" {
  type = string
}

variable "execution_role_arn" {
  type = string
}

variable "state_machine_role_arn" {
  type = string
}

variable "schedule_role_arn" {
  type = string
}
