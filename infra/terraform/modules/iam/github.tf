# GitHub Actions, without a stored key: its workflows show a token that names the repository.

locals {
  github = toset(var.github_repository == "" ? [] : ["github"])
}

resource "aws_iam_openid_connect_provider" "github" {
  count = var.github_repository != "" && var.github_provider_arn == "" ? 1 : 0

  url            = "https://token.actions.githubusercontent.com"
  client_id_list = ["sts.amazonaws.com"]
}

data "aws_iam_policy_document" "github_trust" {
  for_each = local.github

  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = [var.github_provider_arn == "" ? aws_iam_openid_connect_provider.github[0].arn : var.github_provider_arn]
    }

    condition {
      test     = "StringEquals"
      variable = "token.actions.githubusercontent.com:aud"
      values   = ["sts.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "token.actions.githubusercontent.com:sub"
      values   = [for subject in var.github_subjects : "repo:${var.github_repository}:${subject}"]
    }
  }
}

resource "aws_iam_role" "github" {
  for_each = local.github

  name                 = "${var.name}-github"
  assume_role_policy   = data.aws_iam_policy_document.github_trust[each.key].json
  max_session_duration = 3600
}

data "aws_iam_policy_document" "github" {
  for_each = local.github

  statement {
    sid       = "Login"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"] # AWS lets this one name nothing
  }

  statement {
    sid = "Push"
    actions = [
      "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:InitiateLayerUpload",
      "ecr:UploadLayerPart", "ecr:CompleteLayerUpload", "ecr:PutImage", "ecr:DescribeImages", "ecr:DescribeImageScanFindings",
    ]
    resources = values(var.repository_arns)
  }

  statement {
    sid       = "Run"
    actions   = ["states:StartExecution", "states:ListExecutions", "states:DescribeStateMachine"]
    resources = [local.state_machine_arn]
  }

  statement {
    sid       = "Watch"
    actions   = ["states:DescribeExecution", "states:GetExecutionHistory", "states:RedriveExecution", "states:StopExecution"]
    resources = [replace("${local.state_machine_arn}:*", ":stateMachine:", ":execution:")]
  }

  dynamic "statement" {
    for_each = var.serving ? [1] : []

    content {
      sid       = "Release"
      actions   = ["ecs:UpdateService", "ecs:DescribeServices"]
      resources = [for colour in ["blue", "green"] : "${local.ecs_arn}:service/${var.name}/${var.name}-${colour}"]
    }
  }

  dynamic "statement" {
    for_each = var.serving ? [1] : []

    content {
      sid       = "Revise"
      actions   = ["ecs:RegisterTaskDefinition", "ecs:TagResource"]
      resources = ["${local.ecs_arn}:task-definition/${var.name}-service:*"]
    }
  }

  dynamic "statement" {
    for_each = var.serving ? [1] : []

    content {
      sid       = "HandOver"
      actions   = ["iam:PassRole"]
      resources = [for duty in ["service-task", "service-execution"] : "arn:${var.partition}:iam::${var.account_id}:role/${var.name}-${duty}"]

      condition {
        test     = "StringEquals"
        variable = "iam:PassedToService"
        values   = ["ecs-tasks.amazonaws.com"]
      }
    }
  }

  dynamic "statement" {
    for_each = var.serving ? [1] : []

    content {
      sid       = "Weights"
      actions   = ["elasticloadbalancing:ModifyListener"]
      resources = ["arn:${var.partition}:elasticloadbalancing:${var.region}:${var.account_id}:listener/app/${var.name}/*/*"]
    }
  }

  dynamic "statement" {
    for_each = var.serving ? [1] : []

    content {
      sid       = "Floor"
      actions   = ["application-autoscaling:RegisterScalableTarget"]
      resources = ["arn:${var.partition}:application-autoscaling:${var.region}:${var.account_id}:scalable-target/*"]

      condition {
        test     = "StringEquals"
        variable = "application-autoscaling:service-namespace"
        values   = ["ecs"]
      }
    }
  }

  dynamic "statement" {
    for_each = var.serving ? [1] : []

    content {
      sid = "Look"
      actions = [
        "application-autoscaling:DescribeScalableTargets", "cloudwatch:DescribeAlarms", "ecs:DescribeTaskDefinition", "ecs:ListTaskDefinitions",
        "elasticloadbalancing:DescribeListeners", "elasticloadbalancing:DescribeTargetHealth",
      ]
      resources = ["*"] # AWS lets these name nothing, or not one by one
    }
  }
}

resource "aws_iam_role_policy" "github" {
  for_each = local.github

  name   = "github"
  role   = aws_iam_role.github[each.key].id
  policy = data.aws_iam_policy_document.github[each.key].json
}

resource "aws_iam_role_policy_attachment" "github" {
  for_each = var.github_repository == "" ? toset([]) : var.github_policy_arns

  role       = aws_iam_role.github["github"].name
  policy_arn = each.key
}
