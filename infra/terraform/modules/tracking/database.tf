# PostgreSQL behind MLflow; RDS keeps its password in Secrets Manager and rotates it every week.

resource "aws_db_subnet_group" "this" {
  name       = var.name
  subnet_ids = var.subnets
}

resource "aws_db_parameter_group" "this" {
  name   = "${var.name}-postgres16"
  family = "postgres16"

  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }

  parameter {
    name  = "log_statement"
    value = "ddl"
  }

  parameter {
    name  = "log_min_duration_statement"
    value = "1000" # ms
  }
}

# RDS would create these without expiry.
resource "aws_cloudwatch_log_group" "database" {
  for_each = toset(["postgresql", "upgrade"])

  name              = "/aws/rds/instance/${var.name}/${each.key}"
  retention_in_days = var.log_days
  kms_key_id        = var.key_arn
}

resource "aws_db_instance" "this" {
  #checkov:skip=CKV_AWS_118:MLflow's load needs no metrics per second
  #checkov:skip=CKV_AWS_157:set by database.multi_az, by default true
  #checkov:skip=CKV_AWS_161:MLflow's connection pool needs a password; RDS manages and rotates it in Secrets Manager
  #checkov:skip=CKV_AWS_353:not available for the small classes; slow statements are logged
  identifier     = var.name
  engine         = "postgres"
  engine_version = "16"
  instance_class = var.database.class
  db_name        = "mlflow"

  username                      = "mlflow"
  manage_master_user_password   = true
  master_user_secret_kms_key_id = var.key_arn

  storage_type          = "gp3"
  storage_encrypted     = true
  kms_key_id            = var.key_arn
  allocated_storage     = var.database.storage_gb
  max_allocated_storage = var.database.storage_gb * 4

  db_subnet_group_name   = aws_db_subnet_group.this.name
  parameter_group_name   = aws_db_parameter_group.this.name
  vpc_security_group_ids = [aws_security_group.database.id]
  publicly_accessible    = false
  multi_az               = var.database.multi_az

  backup_retention_period         = var.database.backup_days
  copy_tags_to_snapshot           = true
  auto_minor_version_upgrade      = true
  enabled_cloudwatch_logs_exports = keys(aws_cloudwatch_log_group.database)

  deletion_protection       = var.deletion_protection
  skip_final_snapshot       = !var.deletion_protection
  final_snapshot_identifier = var.deletion_protection ? "${var.name}-last" : null
}

resource "aws_security_group" "database" {
  name        = "${var.name}-database"
  description = "Database of MLflow"
  vpc_id      = var.vpc_id
  tags        = { Name = "${var.name}-database" }
}

resource "aws_vpc_security_group_ingress_rule" "database" {
  security_group_id            = aws_security_group.database.id
  description                  = "PostgreSQL from MLflow"
  referenced_security_group_id = aws_security_group.server.id
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}

resource "aws_vpc_security_group_egress_rule" "server_to_database" {
  security_group_id            = aws_security_group.server.id
  description                  = "PostgreSQL"
  referenced_security_group_id = aws_security_group.database.id
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}
