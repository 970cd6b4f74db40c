# A team in production: three zones, a database with a standby, nothing deleted by accident.
environment = "production"
region      = "eu-west-1"

deletion_protection = true
force_destroy       = false

zones               = ["a", "b", "c"]
endpoint_zones      = 3
interface_endpoints = ["ecr.api", "ecr.dkr", "logs", "secretsmanager", "sts", "monitoring"]
internet_access     = false

run_days        = 90
noncurrent_days = 30
exposure_days   = 400
log_days        = 365

tracking      = true
tracking_size = { cpu = 1024, memory_mb = 4096, tasks = 2 }
database      = { class = "db.t4g.medium", storage_gb = 50, multi_az = true, backup_days = 14 }

pipeline_size      = { cpu = 2048, memory_mb = 8192 }
pipeline_disk_gb   = 100
schedule           = { expression = "cron(0 3 * * ? *)", timezone = "UTC" }
container_insights = true

serving       = true
service_size  = { cpu = 1024, memory_mb = 2048 }
service_tasks = { min = 2, max = 6 }
