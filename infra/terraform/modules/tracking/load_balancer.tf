resource "aws_lb" "this" {
  #checkov:skip=CKV_AWS_91:requests are counted in CloudWatch; access logs cannot go to a bucket encrypted with a customer-managed key
  #checkov:skip=CKV2_AWS_20:internal, plain HTTP between security groups of one network
  #checkov:skip=CKV2_AWS_28:internal, so no web firewall
  name                       = var.name
  internal                   = true
  load_balancer_type         = "application"
  subnets                    = var.subnets
  security_groups            = [aws_security_group.load_balancer.id]
  drop_invalid_header_fields = true
  enable_deletion_protection = var.deletion_protection
}

resource "aws_lb_target_group" "this" {
  #checkov:skip=CKV_AWS_378:plain HTTP between security groups of one network
  name                 = var.name
  port                 = local.port
  protocol             = "HTTP"
  target_type          = "ip"
  vpc_id               = var.vpc_id
  deregistration_delay = 30

  # A call that reads the database: after RDS has rotated the password, new connections fail, the task becomes
  # unhealthy, and its replacement starts with the new password.
  health_check {
    path                = "/api/2.0/mlflow/experiments/search?max_results=1"
    matcher             = "200"
    interval            = 15
    timeout             = 10
    healthy_threshold   = 2
    unhealthy_threshold = 4
  }
}

resource "aws_lb_listener" "this" {
  #checkov:skip=CKV_AWS_2:plain HTTP between security groups of one network
  #checkov:skip=CKV_AWS_103:as above
  load_balancer_arn = aws_lb.this.arn
  port              = 80
  protocol          = "HTTP"

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this.arn
  }
}

resource "aws_security_group" "load_balancer" {
  name        = "${var.name}-lb"
  description = "Load balancer of MLflow"
  vpc_id      = var.vpc_id
  tags        = { Name = "${var.name}-lb" }
}

resource "aws_vpc_security_group_ingress_rule" "load_balancer" {
  #checkov:skip=CKV_AWS_260:from security groups only
  for_each = var.clients

  security_group_id            = aws_security_group.load_balancer.id
  description                  = "HTTP from ${each.key}"
  referenced_security_group_id = each.value
  ip_protocol                  = "tcp"
  from_port                    = 80
  to_port                      = 80
}

resource "aws_vpc_security_group_egress_rule" "client" {
  for_each = var.clients

  security_group_id            = each.value
  description                  = "HTTP to MLflow"
  referenced_security_group_id = aws_security_group.load_balancer.id
  ip_protocol                  = "tcp"
  from_port                    = 80
  to_port                      = 80
}

resource "aws_vpc_security_group_egress_rule" "load_balancer" {
  security_group_id            = aws_security_group.load_balancer.id
  description                  = "To MLflow"
  referenced_security_group_id = aws_security_group.server.id
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port
}

resource "aws_security_group" "server" {
  name        = "${var.name}-server"
  description = "Tasks of MLflow"
  vpc_id      = var.vpc_id
  tags        = { Name = "${var.name}-server" }
}

resource "aws_vpc_security_group_egress_rule" "operators" {
  for_each = var.operator_access ? { http = 80, https = 443 } : {}

  security_group_id = aws_security_group.server.id
  description       = "Forwarded ports of operators: ${each.key} in this network"
  cidr_ipv4         = var.vpc_cidr
  ip_protocol       = "tcp"
  from_port         = each.value
  to_port           = each.value
}

resource "aws_vpc_security_group_ingress_rule" "server" {
  security_group_id            = aws_security_group.server.id
  description                  = "From the load balancer"
  referenced_security_group_id = aws_security_group.load_balancer.id
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port
}
