output "bucket" {
  value      = aws_s3_bucket.this.id
  depends_on = [aws_s3_bucket_policy.this, aws_s3_bucket_server_side_encryption_configuration.this]
}

output "bucket_arn" {
  value = aws_s3_bucket.this.arn
}

output "key_arn" {
  value = aws_kms_key.this.arn
}

output "repository_urls" {
  value = { for name, repository in aws_ecr_repository.this : name => repository.repository_url }
}

output "repository_arns" {
  value = { for name, repository in aws_ecr_repository.this : name => repository.arn }
}

output "salt_secret_arn" {
  value      = aws_secretsmanager_secret.salt.arn
  depends_on = [aws_secretsmanager_secret_version.salt]
}
