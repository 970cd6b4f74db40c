# MLflow behind an internal load balancer. Clients need no rights on S3: artifacts pass through the server.

locals {
  port = 5000
}

resource "aws_cloudwatch_log_group" "this" {
  name              = var.log_group
  retention_in_days = var.log_days
  kms_key_id        = var.key_arn
}

resource "aws_ecs_task_definition" "this" {
  family                   = var.name
  network_mode             = "awsvpc"
  requires_compatibilities = ["FARGATE"]
  cpu                      = var.size.cpu
  memory                   = var.size.memory_mb
  execution_role_arn       = var.execution_role_arn
  task_role_arn            = var.task_role_arn

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.architecture
  }

  volume {
    name = "scratch" # on the task's own disk; gets the owner of the image's volume at the same path
  }

  container_definitions = jsonencode([{
    name         = "tracking"
    image        = var.image
    essential    = true
    command      = ["python", "/opt/tracking_server.py", "mlflow", "server", "--host", "0.0.0.0", "--port", tostring(local.port), "--workers", "2"]
    portMappings = [{ containerPort = local.port, hostPort = local.port, protocol = "tcp" }]
    environment = [
      { name = "AWS_REGION", value = var.region },
      { name = "MLFLOW_ARTIFACTS_DESTINATION", value = "s3://${var.bucket}/mlflow" },
      { name = "MLFLOW_BACKEND_STORE_URI", value = "postgresql+psycopg2://${aws_db_instance.this.endpoint}/mlflow?sslmode=verify-full&sslrootcert=/etc/rds-ca.pem" },
      # Seconds after which a connection is opened anew: an open one outlives a rotated password, and would hide from the
      # health check that new ones are refused.
      { name = "MLFLOW_SQLALCHEMYSTORE_POOL_RECYCLE", value = "30" },
      { name = "MLFLOW_SERVER_ALLOWED_HOSTS", value = join(",", local.hosts) },
    ]
    # libpq reads these, so that no URI contains the password.
    secrets = [
      { name = "PGPASSWORD", valueFrom = "${local.secret_arn}:password::" },
      { name = "PGUSER", valueFrom = "${local.secret_arn}:username::" },
    ]
    logConfiguration = {
      logDriver = "awslogs"
      options   = { awslogs-group = aws_cloudwatch_log_group.this.name, awslogs-region = var.region, awslogs-stream-prefix = "tracking" }
    }
    readonlyRootFilesystem = !var.operator_access # the agent of operator sessions writes to the container's file system
    mountPoints            = [{ sourceVolume = "scratch", containerPath = "/scratch", readOnly = false }]
    systemControls         = []
    volumesFrom            = []
  }])
}

locals {
  secret_arn = aws_db_instance.this.master_user_secret[0].secret_arn
  # The load balancer's health check uses a task's IP address as Host.
  hosts = [aws_lb.this.dns_name, "${join(".", slice(split(".", var.vpc_cidr), 0, 2))}.*", "localhost:*"]
}

resource "aws_ecs_service" "this" {
  name            = "tracking"
  cluster         = var.cluster_arn
  task_definition = aws_ecs_task_definition.this.arn
  desired_count   = var.size.tasks
  launch_type     = "FARGATE"
  propagate_tags  = "SERVICE"

  enable_execute_command = var.operator_access

  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  health_check_grace_period_seconds  = 180 # the first start migrates the database

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets         = var.subnets
    security_groups = [var.task_security_group, aws_security_group.server.id]
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.this.arn
    container_name   = "tracking"
    container_port   = local.port
  }

  depends_on = [aws_lb_listener.this]
}
