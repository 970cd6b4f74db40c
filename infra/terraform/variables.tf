# ---- which deployment

variable "name" {
  description = "Prefix of every name."
  type        = string
  default     = "clicklab"

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{1,10}$", var.name))
    error_message = "name must be 2 to 11 lower-case letters and digits, beginning with a letter: load balancers' names are limited to 32 characters."
  }
}

variable "environment" {
  description = "Name of this deployment among several; part of every name and tag."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{1,10}$", var.environment))
    error_message = "environment must be 2 to 11 lower-case letters and digits, beginning with a letter."
  }
}

variable "region" {
  description = "AWS region."
  type        = string
  default     = "eu-west-1"

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be an AWS region such as eu-west-1."
  }
}

variable "account_id" {
  description = "The only account this may be applied to; empty: that of the credentials."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([0-9]{12})?$", var.account_id))
    error_message = "account_id must be 12 digits, or empty."
  }
}

variable "deletion_protection" {
  description = "Refuse to delete database and load balancers; take a final snapshot of the database."
  type        = bool
  default     = true
}

variable "force_destroy" {
  description = "Let `destroy` delete a bucket with objects and repositories with images."
  type        = bool
  default     = false
}

variable "architecture" {
  description = "CPU architecture of the images."
  type        = string
  default     = "X86_64"

  validation {
    condition     = contains(["X86_64", "ARM64"], var.architecture)
    error_message = "architecture must be X86_64 or ARM64."
  }
}

variable "images" {
  description = "Tag of each image in its repository; `make push` writes the latest to images.auto.tfvars.json."
  type = object({
    pipeline = optional(string, "initial")
    service  = optional(string, "initial")
    tracking = optional(string, "initial")
  })
  default = {}

  validation {
    condition     = alltrue([for tag in values(var.images) : can(regex("^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$", tag))])
    error_message = "images: a tag has a maximum of 128 letters, digits, dots, dashes and underscores."
  }

  validation {
    condition     = !contains(values(var.images), "latest")
    error_message = "images: tags are immutable here, so none may be named latest; use the commit's id."
  }
}

# ---- network

variable "vpc_cidr" {
  description = "Address range of the network, a /16."
  type        = string
  default     = "10.42.0.0/16"

  validation {
    condition     = can(cidrhost(var.vpc_cidr, 0)) && can(regex("^(10|172|192)\\..*/16$", var.vpc_cidr))
    error_message = "vpc_cidr must be a private /16 such as 10.42.0.0/16."
  }
}

variable "zones" {
  description = "Letters of the region's availability zones, one private subnet each; named, so that a new zone changes nothing."
  type        = list(string)
  default     = ["a", "b"]

  validation {
    condition     = contains([2, 3], length(var.zones)) && length(distinct(var.zones)) == length(var.zones) && alltrue([for letter in var.zones : can(regex("^[a-h]$", letter))])
    error_message = "zones must be 2 or 3 different letters: load balancers and the database need two zones."
  }
}

variable "endpoint_zones" {
  description = "Zones with an interface endpoint for each service (billed by endpoint, zone and hour); tasks in other zones use it across zones."
  type        = number
  default     = 2

  validation {
    condition     = var.endpoint_zones >= 1 && var.endpoint_zones <= length(var.zones)
    error_message = "endpoint_zones must lie between 1 and the number of zones."
  }
}

variable "interface_endpoints" {
  description = "AWS services reached through interface endpoints, so that no internet access is needed."
  type        = set(string)
  default     = ["ecr.api", "ecr.dkr", "logs", "secretsmanager", "sts", "monitoring"]

  validation {
    condition     = var.internet_access || length(setsubtract(["ecr.api", "ecr.dkr", "logs", "secretsmanager"], var.interface_endpoints)) == 0
    error_message = "interface_endpoints must hold ecr.api, ecr.dkr, logs and secretsmanager: without internet no task starts otherwise."
  }

  validation {
    condition     = length(setsubtract(var.interface_endpoints, ["ecr.api", "ecr.dkr", "logs", "secretsmanager", "sts", "monitoring", "states", "ssmmessages"])) == 0
    error_message = "interface_endpoints must be among ecr.api, ecr.dkr, logs, secretsmanager, sts, monitoring, states and ssmmessages."
  }
}

variable "internet_access" {
  description = "Give tasks internet access: public subnets, an internet gateway and one NAT gateway."
  type        = bool
  default     = false
}

# ---- storage

variable "run_days" {
  description = "Days after which the products of a pipeline run expire."
  type        = number
  default     = 90

  validation {
    condition     = var.run_days >= 15
    error_message = "run_days must be 15 or more: a run can be resumed for 14 days."
  }
}

variable "noncurrent_days" {
  description = "Days during which a replaced or deleted object can be restored."
  type        = number
  default     = 30

  validation {
    condition     = var.noncurrent_days >= 1
    error_message = "noncurrent_days must be 1 or more."
  }
}

variable "exposure_days" {
  description = "Days after which the service's exposure log expires."
  type        = number
  default     = 400

  validation {
    condition     = var.exposure_days >= 60
    error_message = "exposure_days must be 60 or more: exposures move to infrequent access after 30 days."
  }
}

variable "data_buckets" {
  description = "Other buckets from which the pipeline may read logs."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for bucket in var.data_buckets : can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", bucket))])
    error_message = "data_buckets must be names of buckets, without s3://."
  }
}

variable "data_key_arns" {
  description = "Customer-managed KMS keys with which those buckets are encrypted; each key's policy must allow this account too."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.data_key_arns : can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", arn))])
    error_message = "data_key_arns must be ARNs of KMS keys (not of aliases)."
  }
}

variable "log_days" {
  description = "Retention of logs in days."
  type        = number
  default     = 365

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731], var.log_days)
    error_message = "log_days must be one that CloudWatch accepts: 7, 14, 30, 60, 90, 180, 365, 400, 545 or 731."
  }
}

# ---- tracking

variable "tracking" {
  description = "Run MLflow with a PostgreSQL database here; otherwise use external_tracking_uri."
  type        = bool
  default     = true

  validation {
    condition     = var.tracking || var.external_tracking_uri != ""
    error_message = "tracking = false needs external_tracking_uri, to which the pipeline records its runs."
  }
}

variable "external_tracking_uri" {
  description = "MLflow server to use if tracking is off."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(https?://.+)?$", var.external_tracking_uri))
    error_message = "external_tracking_uri must begin with http:// or https://."
  }
}

variable "tracking_size" {
  description = "MLflow's tasks: CPU units, memory and number."
  type        = object({ cpu = number, memory_mb = number, tasks = number })
  default     = { cpu = 512, memory_mb = 2048, tasks = 1 }

  validation {
    condition     = contains(lookup(local.fargate_memory_mb, tostring(var.tracking_size.cpu), []), var.tracking_size.memory_mb)
    error_message = "tracking_size: Fargate does not offer that combination of cpu and memory_mb; see fargate.tf."
  }

  validation {
    condition     = var.tracking_size.tasks >= 1 && var.tracking_size.tasks <= 4
    error_message = "tracking_size.tasks must lie between 1 and 4."
  }
}

variable "database" {
  description = "The database behind MLflow."
  type        = object({ class = string, storage_gb = number, multi_az = bool, backup_days = number })
  default     = { class = "db.t4g.medium", storage_gb = 50, multi_az = true, backup_days = 14 }

  validation {
    condition     = can(regex("^db\\.[a-z0-9]+\\.[a-z0-9]+$", var.database.class))
    error_message = "database.class must be one of RDS, such as db.t4g.micro."
  }

  validation {
    condition     = var.database.storage_gb >= 20 && var.database.storage_gb <= 16384
    error_message = "database.storage_gb must lie between 20 and 16384."
  }

  validation {
    condition     = var.database.backup_days >= 1 && var.database.backup_days <= 35
    error_message = "database.backup_days must lie between 1 and 35."
  }
}

variable "operator_access" {
  description = "Let operators who have the permission open a session in MLflow's task and forward ports through it into the network."
  type        = bool
  default     = false

  validation {
    condition     = !var.operator_access || (var.tracking && (var.internet_access || contains(var.interface_endpoints, "ssmmessages")))
    error_message = "operator_access needs tracking, and ssmmessages among interface_endpoints."
  }
}

# ---- pipeline

variable "definition" {
  description = "The state machine's template; relative to this folder. Its plan is plan.json, which `make asl` writes."
  type        = string
  default     = "state_machine.json.tftpl"

  validation {
    condition     = fileexists(startswith(var.definition, "/") ? var.definition : "${path.root}/${var.definition}")
    error_message = "definition: no such file; the one of the repository is state_machine.json.tftpl."
  }
}

variable "pipeline_size" {
  description = "Size of a pipeline task for which the definition has none."
  type        = object({ cpu = number, memory_mb = number })
  default     = { cpu = 1024, memory_mb = 4096 }

  validation {
    condition     = contains(lookup(local.fargate_memory_mb, tostring(var.pipeline_size.cpu), []), var.pipeline_size.memory_mb)
    error_message = "pipeline_size: Fargate does not offer that combination of cpu and memory_mb; see fargate.tf."
  }
}

variable "pipeline_disk_gb" {
  description = "Disk of a pipeline task in GB; the first 20 are free."
  type        = number
  default     = 40

  validation {
    condition     = var.pipeline_disk_gb >= 21 && var.pipeline_disk_gb <= 200
    error_message = "pipeline_disk_gb must lie between 21 and 200."
  }
}

variable "schedule" {
  description = "When the pipeline runs; off until `enabled` or `make schedule STATE=on`."
  type = object({
    expression = string
    timezone   = optional(string, "UTC")
    enabled    = optional(bool, false)
    data       = optional(string, "")
  })
  default = { expression = "rate(1 day)" }

  validation {
    condition     = can(regex("^(rate|cron)\\(.+\\)$", var.schedule.expression))
    error_message = "schedule.expression must be rate(1 day), rate(1 hour), or cron(minute hour day month weekday year)."
  }
}

variable "container_insights" {
  description = "CloudWatch Container Insights for the cluster (billed by metric)."
  type        = bool
  default     = true
}

variable "emails" {
  description = "Recipients of notices; each address must confirm once."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for email in var.emails : can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", email))])
    error_message = "emails must be e-mail addresses."
  }
}

# ---- serving

variable "serving" {
  description = "Run the prediction service."
  type        = bool
  default     = true
}

variable "service_size" {
  description = "Size of a task of the service."
  type        = object({ cpu = number, memory_mb = number })
  default     = { cpu = 1024, memory_mb = 2048 }

  validation {
    condition     = contains(lookup(local.fargate_memory_mb, tostring(var.service_size.cpu), []), var.service_size.memory_mb)
    error_message = "service_size: Fargate does not offer that combination of cpu and memory_mb; see fargate.tf."
  }

  validation {
    condition     = var.service_size.memory_mb >= 2048
    error_message = "service_size.memory_mb must be 2048 or more: the smallest tasks see two processors, and each worker takes 300 to 400 MB."
  }
}

variable "service_tasks" {
  description = "Minimum and maximum number of tasks of the service."
  type        = object({ min = number, max = number })
  default     = { min = 2, max = 6 }

  validation {
    condition     = var.service_tasks.min >= 1 && var.service_tasks.max >= var.service_tasks.min && var.service_tasks.max <= 100
    error_message = "service_tasks: 1 <= min <= max <= 100."
  }
}

variable "requests_per_task" {
  description = "Requests per minute and task at which scaling aims."
  type        = number
  default     = 30000

  validation {
    condition     = var.requests_per_task >= 1
    error_message = "requests_per_task must be 1 or more."
  }
}

variable "p99_ms" {
  description = "99th percentile of the response time above which an alarm fires."
  type        = number
  default     = 100

  validation {
    condition     = var.p99_ms > 0
    error_message = "p99_ms must be above 0."
  }
}

variable "public" {
  description = "Put the service's load balancer on the internet; needs certificate_arn."
  type        = bool
  default     = false

  validation {
    condition     = !var.public || var.certificate_arn != ""
    error_message = "public = true needs certificate_arn: nothing is served unencrypted on the internet."
  }

  validation {
    condition     = !var.public || length(var.allowed_cidrs) > 0
    error_message = "public = true needs allowed_cidrs: without address ranges only the network itself may call."
  }
}

variable "certificate_arn" {
  description = "Certificate of the service's load balancer; empty: plain HTTP within the network."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(arn:aws[a-z-]*:acm:.+)?$", var.certificate_arn))
    error_message = "certificate_arn must be the ARN of a certificate in ACM, or empty."
  }
}

variable "allowed_cidrs" {
  description = "Address ranges that may call the service; empty: the network itself."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.allowed_cidrs : can(cidrhost(cidr, 0))])
    error_message = "allowed_cidrs must be address ranges such as 203.0.113.0/24."
  }
}

variable "api_key_secret_arn" {
  description = "Secret in Secrets Manager, encrypted with the AWS-managed key, whose text is the service's API key; empty: no key is required."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(arn:aws[a-z-]*:secretsmanager:.+)?$", var.api_key_secret_arn))
    error_message = "api_key_secret_arn must be the ARN of a secret, or empty."
  }
}

# ---- GitHub Actions

variable "github_repository" {
  description = "owner/name of the repository whose workflows may assume the GitHub role; empty: no such role."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+)?$", var.github_repository))
    error_message = "github_repository must be owner/name, or empty."
  }
}

variable "github_branches" {
  description = "Branches whose workflows may assume the build role, without approval: it pushes images."
  type        = list(string)
  default     = ["main"]

  validation {
    condition     = length(var.github_branches) > 0 && alltrue([for branch in var.github_branches : can(regex("^[A-Za-z0-9._/-]+$", branch))])
    error_message = "github_branches must be names of branches, without wildcards."
  }
}

variable "github_environment" {
  description = "The repository's environment whose jobs may assume the deploy role; protect it by required reviewers."
  type        = string
  default     = "production"

  validation {
    condition     = can(regex("^[A-Za-z0-9._-]+$", var.github_environment))
    error_message = "github_environment must be the name of an environment, without wildcards."
  }
}

variable "github_provider_arn" {
  description = "The account's OIDC provider for GitHub if it has one (there can be only one); empty: create it."
  type        = string
  default     = ""
}

variable "github_build_policy_arns" {
  description = "Policies that let the build role read the state and plan; give it none that can change anything."
  type        = set(string)
  default     = []
}

variable "github_deploy_policy_arns" {
  description = "Policies that let the deploy role apply this Terraform; without them it only runs and releases."
  type        = set(string)
  default     = []
}
