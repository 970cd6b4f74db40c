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

variable "public_subnets" {
  description = "Subnets of the load balancer if it is public."
  type        = list(string)
}

variable "public" {
  type = bool
}

variable "allowed_cidrs" {
  type = set(string)
}

variable "certificate_arn" {
  type = string
}

variable "api_key_secret_arn" {
  type = string
}

variable "salt_secret_arn" {
  description = "The secret with the salt of the exposures."
  type        = string
}

variable "task_security_group" {
  description = "The group that lets tasks reach AWS services."
  type        = string
}

variable "cluster_arn" {
  type = string
}

variable "cluster_name" {
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

variable "tasks" {
  type = object({ min = number, max = number })
}

variable "requests_per_task" {
  type = number
}

variable "rollback_alarms" {
  description = "Names of the alarms that roll a deployment back, by color."
  type        = map(list(string))
}

variable "deletion_protection" {
  type = bool
}

variable "bucket" {
  type = string
}

variable "model_pointer" {
  type = string
}

variable "key_arn" {
  type = string
}

variable "log_days" {
  type = number
}

variable "execution_role_arn" {
  type = string
}

variable "task_role_arn" {
  type = string
}
