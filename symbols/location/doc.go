// Package location reads what a person types to say where to probe, and finds the addresses
// that it means in a file: by names, as they are in the file's tables or as they read, by
// patterns and by addresses; and tells names that are alike where there are none.
package location
