variable "name" {
  type = string
}

variable "account_id" {
  type = string
}

variable "partition" {
  type = string
}

variable "region" {
  type = string
}

variable "force_destroy" {
  type = bool
}

variable "run_days" {
  type = number
}

variable "noncurrent_days" {
  type = number
}

variable "exposure_days" {
  type = number
}

variable "repositories" {
  description = "One repository for each image."
  type        = set(string)
}
