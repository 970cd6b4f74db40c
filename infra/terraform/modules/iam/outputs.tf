# Roles are output after their policies, so that their users wait for those.

output "roles" {
  description = "ARN by duty."
  value       = { for duty, role in aws_iam_role.this : duty => role.arn }
  depends_on  = [aws_iam_role_policy.this]
}

output "tracking_execution_role" {
  value      = try(aws_iam_role.this["tracking-execution"].arn, "")
  depends_on = [aws_iam_role_policy.this, aws_iam_role_policy.database_password]
}

output "github_roles" {
  description = "ARN of the roles for GitHub's workflows: build and deploy."
  value       = { for duty in ["build", "deploy"] : duty => try(aws_iam_role.github[duty].arn, "") }
  depends_on  = [aws_iam_role_policy.github]
}
