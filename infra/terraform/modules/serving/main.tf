# The service in two colors behind one listener. Terraform creates both; the release verbs change revision, number of
# tasks and share of the traffic, so those values are ignored here.

locals {
  port      = 3000
  container = "service"
  # After the first apply blue serves and green has no tasks.
  colors = { blue = { weight = 100, tasks = var.tasks.min }, green = { weight = 0, tasks = 0 } }
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/${var.name}/service"
  retention_in_days = var.log_days
  kms_key_id        = var.key_arn
}

resource "aws_ecs_task_definition" "this" {
  family                   = "${var.name}-service"
  network_mode             = "awsvpc"
  requires_compatibilities = ["FARGATE"]
  cpu                      = var.size.cpu
  memory                   = var.size.memory_mb
  execution_role_arn       = var.execution_role_arn
  task_role_arn            = var.task_role_arn
  skip_destroy             = true # a failed deployment returns to the previous revision

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.architecture
  }

  volume {
    name = "scratch" # on the task's own disk; initialized with the files and owner of the image's volume at the same path
  }

  container_definitions = jsonencode([{
    name         = local.container
    image        = var.image
    essential    = true
    stopTimeout  = 60 # requests in flight, then queued exposures
    portMappings = [{ containerPort = local.port, hostPort = local.port, protocol = "tcp" }]
    environment = [
      { name = "AWS_REGION", value = var.region },
      { name = "BENTOML_DO_NOT_TRACK", value = "True" },
      { name = "CLICKLAB_EXPOSURES", value = "s3://${var.bucket}/exposures" },
      { name = "CLICKLAB_MODEL_POINTER", value = var.model_pointer },
    ]
    secrets = concat(
      [{ name = "CLICKLAB_SALT", valueFrom = var.salt_secret_arn }],
      var.api_key_secret_arn == "" ? [] : [{ name = "CLICKLAB_API_KEY", valueFrom = var.api_key_secret_arn }],
    )
    logConfiguration = {
      logDriver = "awslogs"
      options   = { awslogs-group = aws_cloudwatch_log_group.this.name, awslogs-region = var.region, awslogs-stream-prefix = "service" }
    }
    readonlyRootFilesystem = true
    mountPoints            = [{ sourceVolume = "scratch", containerPath = "/scratch", readOnly = false }]
    systemControls         = []
    volumesFrom            = []
  }])
}

resource "aws_ecs_service" "this" {
  for_each = local.colors

  name            = "${var.name}-${each.key}"
  cluster         = var.cluster_arn
  task_definition = aws_ecs_task_definition.this.arn
  desired_count   = each.value.tasks
  launch_type     = "FARGATE"
  propagate_tags  = "SERVICE"

  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  health_check_grace_period_seconds  = 60

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  alarms {
    alarm_names = var.rollback_alarms[each.key]
    enable      = true
    rollback    = true
  }

  network_configuration {
    subnets         = var.subnets
    security_groups = [var.task_security_group, aws_security_group.service.id]
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.this[each.key].arn
    container_name   = local.container
    container_port   = local.port
  }

  lifecycle {
    ignore_changes = [desired_count, task_definition]
  }

  depends_on = [aws_lb_listener.this] # ECS refuses a target group without a load balancer
}

# ---- scaling by requests per minute and task

resource "aws_appautoscaling_target" "this" {
  for_each = local.colors

  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${var.cluster_name}/${aws_ecs_service.this[each.key].name}"
  min_capacity       = each.value.tasks
  max_capacity       = var.tasks.max

  lifecycle {
    ignore_changes = [min_capacity] # the live color has a minimum, the idle one none
  }
}

resource "aws_appautoscaling_policy" "this" {
  for_each = local.colors

  name               = "requests-per-task"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this[each.key].service_namespace
  scalable_dimension = aws_appautoscaling_target.this[each.key].scalable_dimension
  resource_id        = aws_appautoscaling_target.this[each.key].resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = var.requests_per_task
    scale_out_cooldown = 30
    scale_in_cooldown  = 300

    predefined_metric_specification {
      predefined_metric_type = "ALBRequestCountPerTarget"
      resource_label         = "${aws_lb.this.arn_suffix}/${aws_lb_target_group.this[each.key].arn_suffix}"
    }
  }
}
