module github.com/midwatch/midwatch/alerts

go 1.26.0

require (
	github.com/adhocore/gronx v1.20.4
	github.com/google/go-cmp v0.7.0
	github.com/wneessen/go-mail v0.8.1
	golang.org/x/image v0.47.0
	pgregory.net/rapid v1.3.0
)

require (
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

require github.com/midwatch/midwatch/proto v0.0.0

replace github.com/midwatch/midwatch/proto => ../proto

replace github.com/midwatch/midwatch/storage => ../storage
