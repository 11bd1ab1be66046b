// A variable of each kind of type.
struct parts {
	int x;
	unsigned low : 3, high : 5;
	static int shared;
	char c;
	double d;
	int method(int);
};
int parts::shared;
int parts::method(int a) { return a + x; }

struct base {
	virtual ~base() {}
	long l;
};
struct derived : base {
	double a, b;
};

bool a_bool = true;
char a_char = 'a';
unsigned char a_uchar = 'b';
char16_t a_char16 = u'c';
char32_t a_char32 = U'd';
int a_int = -1;
unsigned long a_ulong = 2;
double a_double = 3;
long double a_long_double = 4;
_Complex double a_complex = 5;
int *a_pointer = &a_int;
int &a_reference = a_int;
int &&a_rvalue = 6;
extern const int a_const;
const int a_const = 7;
volatile int a_volatile = 8;
int an_array[6] = {9};
int a_matrix[2][3] = {{10}};
parts a_struct = {11, 1, 2, 'c', 3.0};
union either {
	int i;
	double d;
} a_union = {12};
enum color { red, blue = 5 } an_enum = blue;
enum class wide : long { less = -1, more = 1L << 40 } a_wide_enum = wide::more;
int called(int, const char *, ...) { return 0; }
int (*a_function)(int, const char *, ...) = called;
typedef int alias;
alias an_alias = 13;
derived a_derived;
int parts::*a_member = &parts::x;
int (parts::*a_method)(int) = &parts::method;
decltype(nullptr) a_null = nullptr;

int main()
{
	return a_int + a_const + a_matrix[1][2] + (a_struct.*a_method)(1);
}
