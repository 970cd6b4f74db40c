"""What the rehearsal mends in moto, each by the call that goes wrong without it."""

import boto3
from moto import mock_aws

from tests.rehearsal import moto_gaps


@mock_aws
def test_versioned_bucket_can_be_emptied():
    """As Terraform does before it deletes a bucket: no more versions are kept, and those that there are go."""
    moto_gaps._let_delete_markers_go()
    s3, bucket = boto3.client("s3", region_name="us-east-1"), "bucket"
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=bucket, Key="key", Body=b"1")
    s3.delete_object(Bucket=bucket, Key="key")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    (version,) = s3.list_object_versions(Bucket=bucket)["Versions"]
    left = [{"Key": "key", "VersionId": version["VersionId"]}]
    s3.delete_objects(Bucket=bucket, Delete={"Objects": left})
    s3.delete_bucket(Bucket=bucket)
