"""What all resources of the REST API share: errors, authentication, permission, paging, schema, stream."""
