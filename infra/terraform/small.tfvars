# Small and cheap: one person trying it out. Nothing is protected from deletion.
environment = "small"
region      = "eu-west-1"

deletion_protection = false
force_destroy       = true

zones               = ["a", "b"]
endpoint_zones      = 1
interface_endpoints = ["ecr.api", "ecr.dkr", "logs", "secretsmanager"]
internet_access     = false

run_days        = 30
noncurrent_days = 7
exposure_days   = 90
log_days        = 30

# Ports into the network, through MLflow's task: operator_access = true, and "ssmmessages" among interface_endpoints.
tracking      = true
tracking_size = { cpu = 512, memory_mb = 2048, tasks = 1 }
database      = { class = "db.t4g.micro", storage_gb = 20, multi_az = false, backup_days = 1 }

pipeline_size      = { cpu = 1024, memory_mb = 4096 }
pipeline_disk_gb   = 21
schedule           = { expression = "rate(1 day)" }
container_insights = false

serving       = true
service_size  = { cpu = 512, memory_mb = 1024 }
service_tasks = { min = 2, max = 6 }
