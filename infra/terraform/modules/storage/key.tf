# One key for the deployment, customer-managed, because CloudWatch alarms cannot publish to a topic encrypted with
# an AWS-managed key.

data "aws_iam_policy_document" "key" {
  #checkov:skip=CKV_AWS_109:the account must be able to administer the key, or it can never be deleted
  #checkov:skip=CKV_AWS_111:as above
  #checkov:skip=CKV_AWS_356:in a key's policy "*" is this key

  statement {
    sid       = "Account"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${var.partition}:iam::${var.account_id}:root"]
    }
  }

  statement {
    sid       = "Logs"
    actions   = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["logs.${var.region}.amazonaws.com"]
    }

    condition {
      test     = "ArnLike"
      variable = "kms:EncryptionContext:aws:logs:arn"
      values = [for prefix in ["", "/aws/vendedlogs/states", "/aws/ecs/containerinsights", "/aws/rds/instance"] :
      "arn:${var.partition}:logs:${var.region}:${var.account_id}:log-group:${prefix}/${var.name}*"]
    }
  }

  statement {
    sid       = "Alarms"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey*"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }
  }
}

resource "aws_kms_key" "this" {
  description             = var.name
  policy                  = data.aws_iam_policy_document.key.json
  enable_key_rotation     = true
  deletion_window_in_days = 7
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.this.id
}
