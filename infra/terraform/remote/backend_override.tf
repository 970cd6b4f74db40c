# State in S3 instead of on this machine: copy this file beside the root and run
#   terraform init -backend-config=backend.hcl
# with a file made after backend.hcl.example.
terraform {
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}
