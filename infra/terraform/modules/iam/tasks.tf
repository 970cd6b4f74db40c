# What containers may do while they run, and what ECS may do to start them.

data "aws_iam_policy_document" "pipeline_task" {
  statement {
    sid       = "Runs"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    resources = ["${var.bucket_arn}/runs/*"]
  }

  statement {
    sid       = "Promotion"
    actions   = ["s3:GetObject", "s3:PutObject"]
    resources = ["${var.bucket_arn}/models/*", "${var.bucket_arn}/ledger/*"]
  }

  statement {
    sid       = "Inputs"
    actions   = ["s3:GetObject"]
    resources = concat(["${var.bucket_arn}/data/*", "${var.bucket_arn}/exposures/*"], [for bucket in var.data_buckets : "arn:${var.partition}:s3:::${bucket}/*"])
  }

  statement {
    sid       = "List"
    actions   = ["s3:ListBucket"]
    resources = concat([var.bucket_arn], [for bucket in var.data_buckets : "arn:${var.partition}:s3:::${bucket}"])
  }

  statement {
    sid       = "Key"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.key_arn]
  }

  dynamic "statement" {
    for_each = length(var.data_key_arns) > 0 ? [var.data_key_arns] : []

    content {
      sid       = "DataKeys"
      actions   = ["kms:Decrypt"] # other buckets, encrypted with keys of their own
      resources = statement.value
    }
  }
}

data "aws_iam_policy_document" "service_task" {
  for_each = toset(var.serving ? ["task"] : [])

  statement {
    sid       = "Models"
    actions   = ["s3:GetObject"]
    resources = ["${var.bucket_arn}/models/*"]
  }

  statement {
    sid       = "Exposures"
    actions   = ["s3:PutObject", "s3:AbortMultipartUpload"]
    resources = ["${var.bucket_arn}/exposures/*"]
  }

  # Without it, a missing object answers 403 instead of 404; a condition on s3:prefix is never met by GetObject, which has none.
  statement {
    sid       = "List"
    actions   = ["s3:ListBucket"]
    resources = [var.bucket_arn]
  }

  statement {
    sid       = "Key"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.key_arn]
  }
}

data "aws_iam_policy_document" "tracking_task" {
  for_each = toset(var.tracking ? ["task"] : [])

  statement {
    sid       = "Artefacts"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    resources = ["${var.bucket_arn}/mlflow/*"]
  }

  statement {
    sid       = "List"
    actions   = ["s3:ListBucket"]
    resources = [var.bucket_arn] # unconditionally, as above
  }

  dynamic "statement" {
    for_each = var.operator_access ? [1] : []

    content {
      sid = "Sessions"
      actions = [
        "ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel",
        "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel",
      ]
      resources = ["*"] # support no resource-level permissions
    }
  }

  statement {
    sid       = "Key"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.key_arn]
  }
}

data "aws_iam_policy_document" "execution" {
  for_each = toset(concat(["pipeline"], var.serving ? ["service"] : [], var.tracking ? ["tracking"] : []))

  statement {
    sid       = "Login"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"] # supports no resource-level permissions
  }

  statement {
    sid       = "Image"
    actions   = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability"]
    resources = [var.repository_arns[each.key]]
  }

  statement {
    sid       = "Logs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${local.log_group_arn}/${each.key}:*"]
  }

  dynamic "statement" {
    for_each = each.key == "service" ? [var.salt_secret_arn] : []

    content {
      sid       = "Salt"
      actions   = ["secretsmanager:GetSecretValue"]
      resources = [statement.value]
    }
  }

  dynamic "statement" {
    for_each = each.key == "service" ? [var.key_arn] : []

    content {
      sid       = "Key"
      actions   = ["kms:Decrypt"] # the salt's
      resources = [statement.value]
    }
  }

  dynamic "statement" {
    for_each = each.key == "service" && var.api_key_secret_arn != "" ? [var.api_key_secret_arn] : []

    content {
      sid       = "ApiKey"
      actions   = ["secretsmanager:GetSecretValue"]
      resources = [statement.value]
    }
  }
}

# Separate, so that the other roles need not wait for the database.
data "aws_iam_policy_document" "database_password" {
  statement {
    sid       = "Password"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [var.database_secret_arn]
  }

  statement {
    sid       = "Key"
    actions   = ["kms:Decrypt"]
    resources = [var.key_arn]
  }
}

resource "aws_iam_role_policy" "database_password" {
  count = var.tracking ? 1 : 0

  name   = "database-password"
  role   = aws_iam_role.this["tracking-execution"].id
  policy = data.aws_iam_policy_document.database_password.json
}
