# GitHub Actions, without a stored key: workflows exchange GitHub's token for a role. Two roles: the token of a job that
# nobody has approved names its branch, and gets the build role; the token of a job of the protected environment names
# that environment instead of a branch, and only it gets the deploy role.

locals {
  github = var.github_repository == "" ? {} : {
    build  = [for branch in var.github_branches : "repo:${var.github_repository}:ref:refs/heads/${branch}"]
    deploy = ["repo:${var.github_repository}:environment:${var.github_environment}"]
  }
  github_policy_arns = { build = var.github_build_policy_arns, deploy = var.github_deploy_policy_arns }
  github_policies = {
    build  = [for document in data.aws_iam_policy_document.github_build : document.json]
    deploy = concat([for document in data.aws_iam_policy_document.github_deploy : document.json], [for document in data.aws_iam_policy_document.github_release : document.json])
  }
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
      values   = each.value
    }
  }
}

resource "aws_iam_role" "github" {
  for_each = local.github

  name                 = "${var.name}-github-${each.key}"
  assume_role_policy   = data.aws_iam_policy_document.github_trust[each.key].json
  max_session_duration = 3600
}

data "aws_iam_policy_document" "github_build" {
  count = length(local.github) > 0 ? 1 : 0

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
}

# A run can promote a model, so starting one needs the approval as well.
data "aws_iam_policy_document" "github_deploy" {
  count = length(local.github) > 0 ? 1 : 0

  statement {
    sid       = "Keep"
    actions   = ["ecr:DescribeImages", "ecr:BatchGetImage", "ecr:PutImage"] # a second tag of what is released
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
  count = var.serving && length(local.github) > 0 ? 1 : 0

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

data "aws_iam_policy_document" "github" {
  for_each = local.github

  source_policy_documents = local.github_policies[each.key]
}

resource "aws_iam_role_policy" "github" {
  for_each = local.github

  name   = "github"
  role   = aws_iam_role.github[each.key].id
  policy = data.aws_iam_policy_document.github[each.key].json
}

resource "aws_iam_role_policy_attachment" "github" {
  for_each = merge([for duty in keys(local.github) : { for arn in local.github_policy_arns[duty] : "${duty} ${arn}" => { duty = duty, arn = arn } }]...)

  role       = aws_iam_role.github[each.value.duty].name
  policy_arn = each.value.arn
}
