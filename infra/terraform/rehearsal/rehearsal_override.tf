# Copied beside the root when it is applied to an emulator; AWS_ENDPOINT_URL says where that listens.
provider "aws" {
  region                      = var.region
  access_key                  = "rehearsal"
  secret_key                  = "rehearsal"
  s3_use_path_style           = true
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_region_validation      = true
}
