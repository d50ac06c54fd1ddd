module gauged

go 1.24
