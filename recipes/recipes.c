/* recipes/recipes.c - the list of the lab's recipes, by slug. A new method adds one line to each of the two blocks. */
#include "recipe.h"

#include <string.h>

extern const lab_recipe recipe_urpe;

const lab_recipe *const lab_recipes[] = {
    &recipe_urpe,
};
const int lab_n_recipes = sizeof lab_recipes / sizeof *lab_recipes;

const lab_recipe *lab_find(const char *slug) {
    for (int i = 0; i < lab_n_recipes; i++)
        if (strcmp(lab_recipes[i]->slug, slug) == 0)
            return lab_recipes[i];
    return NULL;
}
