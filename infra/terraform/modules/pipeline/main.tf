# Where the DAG's tasks run: a cluster, one task definition whose container the state machine overrides,
# the state machine itself, its schedule, and the topic that says how it went.

locals {
  container = "pipeline"
}

resource "aws_ecs_cluster" "this" {
  #checkov:skip=CKV_AWS_65:container_insights says so, on unless an environment chooses otherwise
  name = var.name

  setting {
    name  = "containerInsights"
    value = var.container_insights ? "enabled" : "disabled"
  }

  depends_on = [aws_cloudwatch_log_group.insights]
}

# ECS would make it itself, to stay for ever.
resource "aws_cloudwatch_log_group" "insights" {
  #checkov:skip=CKV_AWS_338:measurements, of which CloudWatch keeps the metrics
  count = var.container_insights ? 1 : 0

  name              = "/aws/ecs/containerinsights/${var.name}/performance"
  retention_in_days = min(var.log_days, 30)
  kms_key_id        = var.key_arn
}

resource "aws_ecs_cluster_capacity_providers" "this" {
  cluster_name       = aws_ecs_cluster.this.name
  capacity_providers = ["FARGATE", "FARGATE_SPOT"]
}

resource "aws_security_group" "this" {
  #checkov:skip=CKV2_AWS_5:attached to the tasks that the state machine starts
  name        = "${var.name}-pipeline"
  description = "Tasks of the pipeline"
  vpc_id      = var.vpc_id
  tags        = { Name = "${var.name}-pipeline" }
}

resource "aws_cloudwatch_log_group" "tasks" {
  name              = "/${var.name}/pipeline"
  retention_in_days = var.log_days
  kms_key_id        = var.key_arn
}

resource "aws_ecs_task_definition" "this" {
  family                   = "${var.name}-pipeline"
  network_mode             = "awsvpc"
  requires_compatibilities = ["FARGATE"]
  cpu                      = var.size.cpu
  memory                   = var.size.memory_mb
  execution_role_arn       = var.execution_role_arn
  task_role_arn            = var.task_role_arn
  skip_destroy             = true # a run of the last 14 days is taken up again with the revision it began with

  ephemeral_storage {
    size_in_gib = var.disk_gb
  }

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.architecture
  }

  volume {
    name = "scratch" # of the task's own disk, at the place where the image has a volume: it gets that one's owner
  }

  # No memory of its own: the container may use what the state machine gives the task.
  container_definitions = jsonencode([{
    name        = local.container
    image       = var.image
    essential   = true
    stopTimeout = 120 # the time an interrupted task has to upload its checkpoint
    environment = [
      { name = "AWS_REGION", value = var.region },
      { name = "CLICKLAB_ENV", value = "env.aws.yaml" },
      { name = "CLICKLAB_STORE", value = "s3://${var.bucket}/runs" },
      { name = "MLFLOW_TRACKING_URI", value = var.tracking_uri },
    ]
    logConfiguration = {
      logDriver = "awslogs"
      options   = { awslogs-group = aws_cloudwatch_log_group.tasks.name, awslogs-region = var.region, awslogs-stream-prefix = "task" }
    }
    readonlyRootFilesystem = true
    mountPoints            = [{ sourceVolume = "scratch", containerPath = "/scratch", readOnly = false }]
    portMappings           = []
    systemControls         = []
    volumesFrom            = []
  }])
}

# ---- notices

resource "aws_sns_topic" "this" {
  name              = "${var.name}-notices"
  kms_master_key_id = var.key_arn
}

data "aws_iam_policy_document" "topic" {
  statement {
    sid       = "Alarms"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.this.arn]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [split(":", aws_sns_topic.this.arn)[4]]
    }
  }
}

resource "aws_sns_topic_policy" "this" {
  arn    = aws_sns_topic.this.arn
  policy = data.aws_iam_policy_document.topic.json
}

resource "aws_sns_topic_subscription" "email" {
  for_each = var.emails

  topic_arn = aws_sns_topic.this.arn
  protocol  = "email"
  endpoint  = each.key
}
