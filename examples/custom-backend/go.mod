module github.com/switchyard-dev/switchyard/examples/custom-backend

go 1.26.0

replace github.com/switchyard-dev/switchyard => ../..

require (
	github.com/gofrs/flock v0.13.1
	github.com/google/uuid v1.6.0
	github.com/stretchr/testify v1.12.1
	github.com/switchyard-dev/switchyard v0.0.0-00010101000000-000000000000
)

require (
	go.yaml.in/yaml/v3 v3.0.6 // indirect
	golang.org/x/sys v0.49.0 // indirect
)
