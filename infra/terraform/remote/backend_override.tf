# State in S3 instead of on this machine: copy this file to the folder of main.tf, and backend.hcl.example to
# backend.hcl beside it, with your bucket; `make deploy` then passes it to `terraform init`.
terraform {
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}
