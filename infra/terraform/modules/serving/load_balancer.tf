resource "aws_lb" "this" {
  #checkov:skip=CKV_AWS_91:requests are counted in CloudWatch and in the exposure log; access logs cannot go to a bucket encrypted with a customer-managed key
  #checkov:skip=CKV2_AWS_20:internal without a certificate; HTTPS only with one
  #checkov:skip=CKV2_AWS_28:internal unless `public`; a web firewall for a bidder's calls is up to the owner
  name                       = var.name
  internal                   = !var.public
  load_balancer_type         = "application"
  subnets                    = var.public ? var.public_subnets : var.subnets
  security_groups            = [aws_security_group.load_balancer.id]
  drop_invalid_header_fields = true
  enable_deletion_protection = var.deletion_protection
}

resource "aws_lb_target_group" "this" {
  #checkov:skip=CKV_AWS_378:plain HTTP between security groups of one network
  for_each = local.colors

  name                          = "${var.name}-${each.key}"
  port                          = local.port
  protocol                      = "HTTP"
  target_type                   = "ip"
  vpc_id                        = var.vpc_id
  deregistration_delay          = 30
  load_balancing_algorithm_type = "least_outstanding_requests"

  health_check {
    path                = "/readyz"
    matcher             = "200"
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }
}

resource "aws_lb_listener" "this" {
  #checkov:skip=CKV_AWS_2:HTTPS if there is a certificate; `public` requires one
  #checkov:skip=CKV_AWS_103:as above, then TLS 1.2 and 1.3
  load_balancer_arn = aws_lb.this.arn
  port              = var.certificate_arn == "" ? 80 : 443
  protocol          = var.certificate_arn == "" ? "HTTP" : "HTTPS"
  certificate_arn   = var.certificate_arn == "" ? null : var.certificate_arn
  ssl_policy        = var.certificate_arn == "" ? null : "ELBSecurityPolicy-TLS13-1-2-2021-06"

  default_action {
    type = "forward"

    forward {
      dynamic "target_group" {
        for_each = local.colors

        content {
          arn    = aws_lb_target_group.this[target_group.key].arn
          weight = target_group.value.weight
        }
      }
    }
  }

  lifecycle {
    ignore_changes = [default_action] # the release verbs change the weights
  }
}

resource "aws_security_group" "load_balancer" {
  name        = "${var.name}-lb"
  description = "Load balancer of the service"
  vpc_id      = var.vpc_id
  tags        = { Name = "${var.name}-lb" }
}

resource "aws_vpc_security_group_ingress_rule" "load_balancer" {
  for_each = length(var.allowed_cidrs) > 0 ? var.allowed_cidrs : [var.vpc_cidr]

  security_group_id = aws_security_group.load_balancer.id
  description       = "From callers"
  cidr_ipv4         = each.key
  ip_protocol       = "tcp"
  from_port         = aws_lb_listener.this.port
  to_port           = aws_lb_listener.this.port
}

resource "aws_vpc_security_group_egress_rule" "load_balancer" {
  security_group_id            = aws_security_group.load_balancer.id
  description                  = "To the service"
  referenced_security_group_id = aws_security_group.service.id
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port
}

resource "aws_security_group" "service" {
  name        = "${var.name}-service"
  description = "Tasks of the service"
  vpc_id      = var.vpc_id
  tags        = { Name = "${var.name}-service" }
}

resource "aws_vpc_security_group_ingress_rule" "service" {
  security_group_id            = aws_security_group.service.id
  description                  = "From the load balancer"
  referenced_security_group_id = aws_security_group.load_balancer.id
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port
}
