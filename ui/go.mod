module github.com/midwatch/midwatch/ui

go 1.26.0
