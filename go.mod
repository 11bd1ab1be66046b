module github.com/ptracer/ptracer

go 1.26.8
