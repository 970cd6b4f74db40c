# GitHub Actions, without a stored key: workflows exchange GitHub's token, which names the repository, for this role.

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

  source_policy_documents = [for document in data.aws_iam_policy_document.github_release : document.json]

  statement {
    sid       = "Login"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"] # supports no resource-level permissions
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
    sid = "Watch"
    actions = [
      "states:DescribeExecution", "states:DescribeStateMachineForExecution", "states:GetExecutionHistory",
      "states:RedriveExecution", "states:StopExecution",
    ]
    resources = [replace("${local.state_machine_arn}:*", ":stateMachine:", ":execution:")]
  }

  statement {
    sid       = "Logs"
    actions   = ["logs:FilterLogEvents"]
    resources = ["${local.log_group_arn}/pipeline:*"]
  }

  statement {
    sid       = "Upload"
    actions   = ["s3:PutObject", "s3:AbortMultipartUpload"] # an uploaded log, for one run
    resources = ["${var.bucket_arn}/data/*"]
  }

  statement {
    sid       = "Find"
    actions   = ["s3:ListBucket"] # check that data exists before a run starts
    resources = concat([var.bucket_arn], [for bucket in var.data_buckets : "arn:${var.partition}:s3:::${bucket}"])
  }

  statement {
    sid       = "Key"
    actions   = ["kms:GenerateDataKey", "kms:Decrypt"] # S3 reads the parts of a multipart upload again
    resources = [var.key_arn]
  }
}

data "aws_iam_policy_document" "github_release" {
  #checkov:skip=CKV_AWS_356:registering a task definition supports no resource-level permissions; PassRole limits the roles it can get
  for_each = var.serving ? local.github : []

  statement {
    sid       = "Release"
    actions   = ["ecs:UpdateService", "ecs:DescribeServices"]
    resources = [for color in ["blue", "green"] : "${local.ecs_arn}:service/${var.name}/${var.name}-${color}"]
  }

  statement {
    sid       = "Revise"
    actions   = ["ecs:RegisterTaskDefinition"]
    resources = ["*"] # supports no resource-level permissions
  }

  statement {
    sid       = "Tag"
    actions   = ["ecs:TagResource"]
    resources = ["${local.ecs_arn}:task-definition/${var.name}-service:*"]

    condition {
      test     = "StringEquals"
      variable = "ecs:CreateAction"
      values   = ["RegisterTaskDefinition"]
    }
  }

  statement {
    sid       = "PassRole"
    actions   = ["iam:PassRole"]
    resources = [for duty in ["service-task", "service-execution"] : "arn:${var.partition}:iam::${var.account_id}:role/${var.name}-${duty}"]

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs-tasks.amazonaws.com"]
    }
  }

  statement {
    sid       = "Weights"
    actions   = ["elasticloadbalancing:ModifyListener"]
    resources = ["arn:${var.partition}:elasticloadbalancing:${var.region}:${var.account_id}:listener/app/${var.name}/*/*"]
  }

  statement {
    sid       = "Floor"
    actions   = ["application-autoscaling:RegisterScalableTarget"]
    resources = ["arn:${var.partition}:application-autoscaling:${var.region}:${var.account_id}:scalable-target/*"]

    condition {
      test     = "StringEquals"
      variable = "application-autoscaling:service-namespace"
      values   = ["ecs"]
    }
  }

  statement {
    sid = "Look"
    actions = [
      "cloudwatch:DescribeAlarms", "ecs:DescribeTaskDefinition", "ecs:ListTaskDefinitions",
      "elasticloadbalancing:DescribeListeners", "elasticloadbalancing:DescribeTargetHealth",
    ]
    resources = ["*"] # support no resource-level permissions
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
