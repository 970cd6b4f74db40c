# The salt of the exposures: drawn once, in no state file. Another one would assign every unit anew.

ephemeral "aws_secretsmanager_random_password" "salt" {
  password_length     = 40
  exclude_punctuation = true
}

resource "aws_secretsmanager_secret" "salt" {
  #checkov:skip=CKV2_AWS_57:rotated, it would assign every unit anew
  name_prefix             = "${var.name}-salt-" # a deleted secret's name can be in use for a while
  description             = "Salt of the exposures' unit hashes"
  kms_key_id              = aws_kms_key.this.arn
  recovery_window_in_days = 0 # it goes with the exposures
}

resource "aws_secretsmanager_secret_version" "salt" {
  secret_id                = aws_secretsmanager_secret.salt.id
  secret_string_wo         = ephemeral.aws_secretsmanager_random_password.salt.random_password
  secret_string_wo_version = 1 # raise it to draw another
}
