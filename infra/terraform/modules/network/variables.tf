variable "name" {
  type = string
}

variable "region" {
  type = string
}

variable "cidr" {
  type = string
}

variable "zones" {
  description = "Names of availability zones."
  type        = list(string)
}

variable "endpoint_zones" {
  type = number
}

variable "interface_endpoints" {
  type = set(string)
}

variable "public_subnets" {
  description = "Create a public subnet in each zone and an internet gateway."
  type        = bool
}

variable "internet_access" {
  description = "Give tasks internet access through a NAT gateway; needs public_subnets."
  type        = bool
}

variable "key_arn" {
  type = string
}

variable "log_days" {
  type = number
}

variable "flow_log_role_arn" {
  type = string
}
