variable "name" {
  type = string
}

variable "region" {
  type = string
}

variable "vpc_id" {
  type = string
}

variable "vpc_cidr" {
  type = string
}

variable "subnets" {
  type = list(string)
}

variable "task_security_group" {
  description = "The group that lets tasks reach AWS services."
  type        = string
}

variable "clients" {
  description = "Clients of MLflow: security group by name."
  type        = map(string)
}

variable "cluster_arn" {
  type = string
}

variable "image" {
  type = string
}

variable "architecture" {
  type = string
}

variable "size" {
  type = object({ cpu = number, memory_mb = number, tasks = number })
}

variable "database" {
  type = object({ class = string, storage_gb = number, multi_az = bool, backup_days = number })
}

variable "deletion_protection" {
  type = bool
}

variable "bucket" {
  type = string
}

variable "key_arn" {
  type = string
}

variable "log_group" {
  description = "Name of the server's log group."
  type        = string
}

variable "log_days" {
  type = number
}

variable "operator_access" {
  description = "Let operators open a session in a task and forward ports through it."
  type        = bool
}

variable "execution_role_arn" {
  type = string
}

variable "task_role_arn" {
  type = string
}
